-- ARGV: time, queue, moment, code, words, where to go on. Makes dead letters of what waits since before
-- the moment. How many there were, and where to go on ('0': everything was looked at).

local queue, before = ARGV[2], tonumber(ARGV[3])
local src = string.sub(queue, 1, 8)
local expired = 0

local function expire(item)
    local action = string.sub(item, 1, 20)
    local state = state_of(action)
    state[1], state[3], state[4], state[5] = DEAD, 0, ARGV[4], ARGV[5]
    set_state(action, state)
    call('ZADD', dead_of(src), 0, action)
    expired = expired + 1
end

local found = call('HSCAN', heads_of(queue), ARGV[6], 'COUNT', 500)
for n = 1, #found[2], 2 do
    local lane, head = found[2][n], cmsgpack.unpack(found[2][n + 1])
    local rest = rest_of(queue, lane)
    for _, item in ipairs(call('LRANGE', rest, 0, -1)) do
        if since_of(item) < before then
            call('LREM', rest, 1, item)
            expire(item)
        end
    end
    if head[1] ~= LEASED and since_of(head[3]) < before then
        if head[1] == DELAYED then call('ZREM', due_of(queue), lane) end
        expire(head[3])
        go_on(queue, lane)
    end
end
return { expired, found[1] }
