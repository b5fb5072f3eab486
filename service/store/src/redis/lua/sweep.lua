-- ARGV: time, how many claims, and how many buckets. Removes claims that are over from the next buckets,
-- oldest generation first, until it has looked at so many. How many buckets those were, of how many that
-- generation has.

local meta = call('HMGET', META, 'gens', 'swept')
if not meta[1] then return { 0, 0 } end
local gens = cmsgpack.unpack(meta[1])
local wanted, from = 0, 0
if meta[2] then wanted, from = struct.unpack('>I4I4', meta[2]) end
local place
for n, gen in ipairs(gens) do
    if gen[1] == wanted then place = n end
end
if not place then place, from = #gens, 0 end
local gen = gens[place]
local size = 2 ^ gen[2]
local last = math.min(from + tonumber(ARGV[3]), size) - 1
local claims_seen, bucket = 0, from
while bucket <= last and claims_seen < tonumber(ARGV[2]) do
    local key = P .. 'd:' .. gen[1] .. ':' .. text(bucket)
    local claims = call('HGETALL', key)
    local over = {}
    for n = 1, #claims, 2 do
        if not claimant(claims[n + 1]) then over[#over + 1] = claims[n] end
    end
    call_in_parts('HDEL', key, over)
    gen[3] = gen[3] - #over
    claims_seen = claims_seen + #claims / 2
    bucket = bucket + 1
end
local next_gen, next_bucket = gen[1], bucket
if next_bucket >= size then
    next_gen, next_bucket = (gens[place - 1] or gens[#gens])[1], 0
    if place > 1 and gen[3] <= 0 then table.remove(gens, place) end
end
local swept = struct.pack('>I4I4', next_gen, next_bucket)
call('HSET', META, 'gens', cmsgpack.pack(gens), 'swept', swept)
return { bucket - from, size }
