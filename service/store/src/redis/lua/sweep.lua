-- ARGV: time, how many buckets. Removes claims that are over from the next ones, oldest generation first.
-- How many buckets that generation has.

local meta = call('HMGET', META, 'gens', 'swept')
if not meta[1] then return 0 end
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
local last = math.min(from + tonumber(ARGV[2]), size) - 1
for bucket = from, last do
    local key = P .. 'd:' .. gen[1] .. ':' .. text(bucket)
    local claims = call('HGETALL', key)
    for n = 1, #claims, 2 do
        if not claimant(claims[n + 1]) then
            call('HDEL', key, claims[n])
            gen[3] = gen[3] - 1
        end
    end
end
local next_gen, next_bucket = gen[1], last + 1
if next_bucket >= size then
    next_gen, next_bucket = (gens[place - 1] or gens[#gens])[1], 0
    if place > 1 and gen[3] <= 0 then table.remove(gens, place) end
end
local swept = struct.pack('>I4I4', next_gen, next_bucket)
call('HSET', META, 'gens', cmsgpack.pack(gens), 'swept', swept)
return size
