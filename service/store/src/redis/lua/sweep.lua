-- ARGV: time, generation, bucket to begin with, how many buckets. Removes claims that are over. Where to go
-- on: generation and bucket; the first again when everything was looked at.

local CLAIMS_BEGIN = 1600000000000
local gens = call('HGET', META, 'gens')
if not gens then return { 0, 0 } end
gens = cmsgpack.unpack(gens)
local wanted, from, count = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local place
for n, gen in ipairs(gens) do
    if gen[1] == wanted then place = n end
end
if not place then return { gens[1][1], 0 } end
local gen = gens[place]
local last = math.min(from + count, 2 ^ gen[2]) - 1
local removed = 0
for bucket = from, last do
    local key = P .. 'd:' .. gen[1] .. ':' .. text(bucket)
    local claims = call('HGETALL', key)
    for n = 1, #claims, 2 do
        local millis, rest = struct.unpack('>I5I2', claims[n + 1])
        if now >= millis + CLAIMS_BEGIN + WINDOWS[rest % 32 + 1] then
            call('HDEL', key, claims[n])
            removed = removed + 1
        end
    end
end
gen[3] = gen[3] - removed
local next_gen, next_bucket = gen[1], last + 1
if next_bucket >= 2 ^ gen[2] then
    next_gen, next_bucket = (gens[place + 1] or gens[1])[1], 0
    if place > 1 and gen[3] <= 0 then table.remove(gens, place) end
end
call('HSET', META, 'gens', cmsgpack.pack(gens))
return { next_gen, next_bucket }
