-- ARGV: time, holder, source, number of events, of each [id, lane 8, record, record without words, actions as
-- `write_actions` has them]; ids ascend. False: the partition is another's now.

if not owned_by(ARGV[2]) then return false end
local src = ARGV[3]
local cursor = call('HGET', CUR, src) or ''
local any_erased = call('EXISTS', gone_of(src)) == 1
local at, fields, bytes = 5, {}, 0
for _ = 1, tonumber(ARGV[4]) do
    local id, lane, record, blank = ARGV[at], ARGV[at + 1], ARGV[at + 2], ARGV[at + 3]
    local count = tonumber(ARGV[at + 4])
    if cursor ~= '' and not earlier(cursor, id) then
        -- Planned already.
        at = at + 5 + 4 * count
    else
        cursor = id
        local actions = 0
        if any_erased and erased_of(src, id) then
            record, at, count = blank, at + 5 + 4 * count, 0
        else
            at, actions = write_actions(at + 4, src, id, 0, lane, '', fields)
        end
        fields[#fields + 1] = src .. id
        fields[#fields + 1] = struct.pack('>I2I2c0', count, 0, lane) .. record
        bytes = bytes + #record + OVERHEAD + actions
    end
end
if #fields > 0 then
    set_fields(ACT, fields)
    grew(src, bytes)
    into_lanes()
    call('HSET', CUR, src, cursor)
end
return true
