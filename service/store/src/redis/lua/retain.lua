-- ARGV: time, source, moment, bytes that may stay ('': no limit), where to go on ('': at the beginning).
-- Removes the oldest entries of which nothing is owed, with all that became of them. How many entries and
-- actions went, and where to go on ('': everything was looked at).

local LOOKED_AT = 500
local REMOVED_BYTES = 4194304

local src, before, limit, resume = ARGV[2], tonumber(ARGV[3]), ARGV[4], ARGV[5]
local cursor = call('HGET', CUR, src)
if not cursor then return { 0, 0, '' } end
local beyond = 0
if limit ~= '' then
    beyond = math.max(0, tonumber(call('HGET', SIZE, src) or 0) - tonumber(limit))
end

-- Looked at in one step: id, and bytes of the record. Erased ones are not in the stream.
local function page()
    local from = resume == '' and '-' or '(' .. stream_id(resume)
    local entries = call('XRANGE', log_of(src), from, stream_id(cursor), 'COUNT', LOOKED_AT)
    local found, last = {}, cursor
    for n, entry in ipairs(entries) do
        local millis, sequence = string.match(entry[1], '(%d+)-(%d+)')
        local id = struct.pack('>I6I2', tonumber(millis), tonumber(sequence))
        found[n] = { id, #entry[2][2] - 16, false }
        if n == LOOKED_AT then last = id end
    end
    from = resume == '' and '-' or '(' .. string.sub(upto(resume), 2)
    local gone = call('ZRANGEBYLEX', gone_of(src), from, upto(last), 'LIMIT', 0, LOOKED_AT)
    if #gone == LOOKED_AT then last = string.sub(gone[LOOKED_AT], 1, 8) end
    local looked_at = {}
    for _, one in ipairs(found) do
        if not earlier(last, one[1]) then looked_at[#looked_at + 1] = one end
    end
    for _, member in ipairs(gone) do
        looked_at[#looked_at + 1] = { string.sub(member, 1, 8), #member - 24, true }
    end
    table.sort(looked_at, function(a, b) return earlier(a[1], b[1]) end)
    return looked_at, last
end

-- Where what became of an event is kept, how many actions that are, and their bytes; nil: some of them are
-- still to be done.
local function owned(id)
    local plan = call('HGET', ACT, src .. id)
    if not plan then return {}, 0, 0 end
    local count, runs = struct.unpack('>I2I2', plan)
    local fields, actions, bytes = { src .. id }, 0, #plan - 12 + OVERHEAD
    for run = 0, runs do
        if run > 0 then
            local field = src .. id .. struct.pack('>I2', run)
            local stored = call('HGET', ACT, field)
            count = struct.unpack('>I2', stored)
            bytes = bytes + #stored - 2 + OVERHEAD
            fields[#fields + 1] = field
        end
        for index = 0, count - 1 do
            local action = id .. src .. struct.pack('>I2I2', run, index)
            if state_of(action)[1] == PENDING then return nil end
            local field = field_of(action)
            bytes = bytes + call('HSTRLEN', ACT, field) - 8 + OVERHEAD
            fields[#fields + 1] = field
            fields[#fields + 1] = field .. 's'
            actions = actions + 1
        end
    end
    return fields, actions, bytes
end

local events, actions, freed = 0, 0, 0
local looked_at, last = page()
for _, one in ipairs(looked_at) do
    local id, size, erased = one[1], one[2], one[3]
    if struct.unpack('>I6', id) >= before and beyond == 0 then
        last = cursor
        break
    end
    local fields, count, bytes = owned(id)
    if fields then
        bytes = bytes + size + OVERHEAD
        if erased then
            call('ZREMRANGEBYLEX', gone_of(src), '[' .. id, upto(id))
        else
            call('XDEL', log_of(src), stream_id(id))
        end
        for _, field in ipairs(fields) do call('HDEL', ACT, field) end
        if count > 0 then call('ZREMRANGEBYLEX', dead_of(src), '[' .. id, upto(id)) end
        events, actions, freed = events + 1, actions + count, freed + bytes
        beyond = math.max(0, beyond - bytes)
        if freed >= REMOVED_BYTES then
            last = id
            break
        end
    end
end
grew(src, -freed)
return { events, actions, last == cursor and '' or last }
