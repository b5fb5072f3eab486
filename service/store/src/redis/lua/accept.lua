-- ARGV: time, holder; of each of KEYS: number of sources, of each [hash, name]; number of events, of each
-- [what is known of it, entry]: number of its source 2, window's number 1, how much of the record a duplicate
-- keeps 4, fingerprint 13; and receipt 16, record. Of each event: its id, or the id of the duplicate's entry
-- and of the original.
--
-- Claims: hashes small enough to be packed (listpack), field 9 bytes of the fingerprint, value 7 bytes (see
-- `claimant`). The bucket is found by 4 more bytes; it holds 88 claims when full, so a key meets the field of
-- another once in 2^65 events. A generation is as many buckets as it began with; when they are full a
-- larger one begins, and the older are swept until nothing is left of them.

local LAST_SEQUENCE = 2047
local FULL = 88
-- Of the number of buckets of the first generation and the largest: each older one costs every event a
-- look-up.
local FIRST_BITS, LAST_BITS = 10, 22

-- The event a claim stands for; nil: its window is over.
local function alive(value)
    local millis, number = claimant(value)
    return millis and struct.pack('>I6I2', millis, number)
end

local answers = {}

-- The events of a partition; where they end.
local function accept(at)
    local meta = call('HMGET', META, 'ms', 'seq', 'gens')
    local last, sequence = tonumber(meta[1] or 0), tonumber(meta[2] or 0)
    local gens = meta[3] and cmsgpack.unpack(meta[3]) or { { 1, FIRST_BITS, 0 } }

    -- Goes to the next id. Numbers become text slowly, so that is made when it changes.
    local stream_millis = text(last) .. '-'
    local function step()
        if now <= last and sequence < LAST_SEQUENCE then
            sequence = sequence + 1
            return
        end
        last, sequence = math.max(now, last + 1), 0
        stream_millis = text(last) .. '-'
    end

    -- What the buckets of each generation begin with, and how much of the number is each one's.
    local names, widths = {}, {}
    local function lay_out(n)
        names[n], widths[n] = P .. 'd:' .. gens[n][1] .. ':', 2 ^ (32 - gens[n][2])
    end
    for n = 1, #gens do lay_out(n) end

    local function bucket(n, number)
        return names[n] .. math.floor(number / widths[n])
    end

    -- Claims a key for the next event; nil: it is claimed now, else the event that has it.
    local function claim(number, field, window)
        for n = 2, #gens do
            local value = call('HGET', bucket(n, number), field)
            local original = value and alive(value)
            if original then return original end
        end
        local gen = gens[1]
        local key = bucket(1, number)
        local value = struct.pack('>I5I2', math.max(last - CLAIMS_BEGIN, 0), sequence * 32 + window)
        if call('HSETNX', key, field, value) == 0 then
            local original = alive(call('HGET', key, field))
            if original then return original end
            call('HSET', key, field, value)
            return
        end
        gen[3] = gen[3] + 1
        if gen[3] > FULL * 2 ^ gen[2] and gen[2] < LAST_BITS then
            table.insert(gens, 1, { gen[1] + 1, gen[2] + 1, 0 })
            for n = 1, #gens do lay_out(n) end
        end
    end

    local sources, newest, bytes = {}, {}, {}
    for n = 1, tonumber(ARGV[at]) do
        sources[n] = { ARGV[at + 2 * n - 1], ARGV[at + 2 * n] }
        bytes[n] = 0
    end
    at = at + 2 * #sources + 1
    local count = tonumber(ARGV[at])
    for n = 1, count do
        local source, window, kept, number, field = struct.unpack('>I2I1I4I4c9', ARGV[at + 2 * n - 1])
        local entry = ARGV[at + 2 * n]
        local src = sources[source][1]
        step()
        local original = claim(number, field, window)
        local known = original and (entry_of(src, original) or erased_of(src, original))
        if known and string.sub(known, 1, 16) == string.sub(entry, 1, 16) then
            -- The same submission again.
            answers[#answers + 1] = original
        else
            local id = struct.pack('>I6I2', last, sequence)
            if original then
                -- Tag 11 of the record: what it repeats.
                entry = string.sub(entry, 1, 16 + kept) .. '\90\16' .. original .. src
                answers[#answers + 1] = id .. original
            else
                answers[#answers + 1] = id
            end
            call('XADD', log_of(src), stream_millis .. sequence, 'e', entry)
            newest[source] = id
            bytes[source] = bytes[source] + #entry - 16 + OVERHEAD
        end
    end
    call('HSET', META, 'ms', text(last), 'seq', sequence, 'gens', cmsgpack.pack(gens))
    local fields, got = {}, {}
    for n, id in pairs(newest) do
        local src, name = sources[n][1], sources[n][2]
        fields[#fields + 1] = src
        fields[#fields + 1] = id .. name
        got[#got + 1] = name
        grew(src, bytes[n])
    end
    if #fields > 0 then
        set_fields(SRC, fields)
        -- Names are labels and a slash.
        call('SPUBLISH', P, 'a' .. ARGV[2] .. table.concat(got, ' '))
    end
    return at + 2 * count + 1
end

local at = 3
for _, prefix in ipairs(KEYS) do
    enter(prefix)
    at = accept(at)
end
return answers
