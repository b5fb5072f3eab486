-- ARGV: time, source, number of writes, of each [key, revision it had ('': none), '1' or '' to remove it,
-- value]. The revision of each write; 0: the entry is not as expected.

local src = ARGV[2]
local entries, sorted, changes = P .. 'dir:' .. src, P .. 'dirk:' .. src, P .. 'dirc:' .. src
local newest = tonumber(call('HGET', P .. 'dirv', src) or 0)
local answers = {}
for n = 1, tonumber(ARGV[3]) do
    local at = 4 * n
    local key, expected, value = ARGV[at], ARGV[at + 1], ARGV[at + 3]
    local stored = call('HGET', entries, key)
    local revision = stored and text(struct.unpack('>I8', stored)) or ''
    if revision ~= expected then
        answers[n] = 0
    else
        newest = newest + 1
        if ARGV[at + 2] == '1' then
            call('HSET', entries, key, struct.pack('>I8', newest) .. value)
            call('ZADD', sorted, 0, key)
            call('ZADD', changes, text(newest), key)
        else
            call('HDEL', entries, key)
            call('ZREM', sorted, key)
            call('ZREM', changes, key)
        end
        answers[n] = newest
    end
end
call('HSET', P .. 'dirv', src, text(newest))
call('SPUBLISH', P, 'd' .. src)
return answers
