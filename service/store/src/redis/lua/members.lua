#!lua flags=allow-oom
-- KEYS[1]: the processes that serve the store. ARGV: this one, for how long it is one of them in
-- milliseconds (0: it leaves), and with what the name begins of those that are gone ('': none). All of
-- them, in order.

local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', now))
if ARGV[2] == '0' then
    redis.call('ZREM', KEYS[1], ARGV[1])
else
    redis.call('ZADD', KEYS[1], string.format('%.0f', now + tonumber(ARGV[2])), ARGV[1])
end
if ARGV[3] ~= '' then
    for _, member in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
        if member ~= ARGV[1] and string.sub(member, 1, #ARGV[3]) == ARGV[3] then
            redis.call('ZREM', KEYS[1], member)
        end
    end
end
local members = redis.call('ZRANGE', KEYS[1], 0, -1)
table.sort(members)
return members
