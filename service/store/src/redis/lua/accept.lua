-- ARGV: time, holder, number of sources, of each [hash, name]; number of events, of each [number of its source,
-- fingerprint 16, window's number, receipt 16, record, what a duplicate keeps of it]. Of each event: its
-- id, or the id of the duplicate's entry and of the original.
--
-- Claims: hashes small enough to be packed (listpack), field 11 bytes of the fingerprint, value 7 bytes:
-- 40 bits of the original's milliseconds since CLAIMS_BEGIN, 11 of its sequence, 5 for the window. The
-- bucket tells 8 more bits at least. A generation is as many buckets as it began with; when they are
-- full a larger one begins, and the older are swept until nothing is left of them.

local CLAIMS_BEGIN = 1600000000000
local LAST_SEQUENCE = 2047
local FULL = 88
local LAST_BITS = 22

local meta = call('HMGET', META, 'ms', 'seq', 'gens')
local last, sequence = tonumber(meta[1] or 0), tonumber(meta[2] or 0)
local gens = meta[3] and cmsgpack.unpack(meta[3]) or { { 1, 8, 0 } }

local function next_id()
    if now > last then
        last, sequence = now, 0
    elseif sequence < LAST_SEQUENCE then
        sequence = sequence + 1
    else
        last, sequence = last + 1, 0
    end
    return struct.pack('>I6I2', last, sequence)
end

local function bucket(gen, number)
    return P .. 'd:' .. gen[1] .. ':' .. math.floor(number / 2 ^ (32 - gen[2]))
end

-- The event a live claim stands for.
local function claimed(number, field)
    for _, gen in ipairs(gens) do
        local value = call('HGET', bucket(gen, number), field)
        if value then
            local millis, rest = struct.unpack('>I5I2', value)
            millis = millis + CLAIMS_BEGIN
            if now < millis + WINDOWS[rest % 32 + 1] then
                return struct.pack('>I6I2', millis, math.floor(rest / 32))
            end
        end
    end
end

local function claim(number, field, window)
    local value = struct.pack('>I5I2', math.max(last - CLAIMS_BEGIN, 0), sequence * 32 + window)
    local gen = gens[1]
    if call('HSET', bucket(gen, number), field, value) == 1 then
        gen[3] = gen[3] + 1
        if gen[3] > FULL * 2 ^ gen[2] and gen[2] < LAST_BITS then
            table.insert(gens, 1, { gen[1] + 1, gen[2] + 1, 0 })
        end
    end
end

local at, sources, newest, bytes = 4, {}, {}, {}
for n = 1, tonumber(ARGV[3]) do
    sources[n] = { ARGV[at], ARGV[at + 1] }
    bytes[n] = 0
    at = at + 2
end
local answers = {}
local count = tonumber(ARGV[at])
at = at + 1
for n = 1, count do
    local source = tonumber(ARGV[at])
    local fingerprint, receipt, record = ARGV[at + 1], ARGV[at + 3], ARGV[at + 4]
    local src = sources[source][1]
    local number, field = struct.unpack('>I4', fingerprint), string.sub(fingerprint, 5, 15)
    local original = claimed(number, field)
    local known = original and (entry_of(src, original) or erased_of(src, original))
    if known and string.sub(known, 1, 16) == receipt then
        -- The same submission again.
        answers[n] = original
    else
        local id = next_id()
        local entry
        if original then
            -- Tag 11 of the record: what it repeats.
            entry = receipt .. ARGV[at + 5] .. '\90\16' .. original .. src
            answers[n] = id .. original
        else
            entry = receipt .. record
            claim(number, field, tonumber(ARGV[at + 2]))
            answers[n] = id
        end
        call('XADD', log_of(src), stream_id(id), 'e', entry)
        newest[source] = id
        bytes[source] = bytes[source] + #entry - 16 + OVERHEAD
    end
    at = at + 6
end
call('HSET', META, 'ms', text(last), 'seq', sequence, 'gens', cmsgpack.pack(gens))
for n, id in pairs(newest) do
    local src = sources[n][1]
    call('HSET', SRC, src, id .. sources[n][2])
    grew(src, bytes[n])
    call('SPUBLISH', P, 'a' .. src .. ARGV[2] .. sources[n][2])
end
return answers
