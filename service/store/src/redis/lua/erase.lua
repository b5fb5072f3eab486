-- ARGV: time, source, id, the plan as it was read ('': none), what stays of the entry, of the plan;
-- number of runs, of each what stays; number of actions, of each [action 20, what stays, whether there
-- was something to be sent]. How many actions lost what was to be sent; -1: it is not there, or erased
-- already; -2: something changed meanwhile.

local src, id, seen = ARGV[2], ARGV[3], ARGV[4]
local entry = entry_of(src, id)
if not entry then return -1 end
local plan = call('HGET', ACT, src .. id) or ''
if plan ~= seen then return -2 end

local INSTEAD = 'erased'
local words = 'the event was erased before this was delivered'
local lane = string.sub(plan, 5, 12)
local freed = #entry - 16 - #ARGV[5]

-- Takes an action from where it waits, or away from who has it; the attempts that ended.
local function withdraw(action, queue, attempts)
    local head = head_of(queue, lane)
    if head and string.sub(head[3], 1, 20) == action then
        if head[1] == LEASED then
            end_lease(head[2], queue)
            attempts = head[4] + 1
        elseif head[1] == DELAYED then
            call('ZREM', due_of(queue), lane)
        end
        go_on(queue, lane)
        return attempts
    end
    local rest = rest_of(queue, lane)
    for _, item in ipairs(call('LRANGE', rest, 0, -1)) do
        if string.sub(item, 1, 20) == action then call('LREM', rest, 1, item) end
    end
    return attempts
end

local function forget(action, stays)
    local field = field_of(action)
    local stored = call('HGET', ACT, field)
    local destination = string.sub(stored, 1, 8)
    call('ZREM', dead_of(src), action)
    local state = state_of(action)
    if state[1] == PENDING then
        state[2] = withdraw(action, src .. destination, state[2])
        state[1], state[3], state[4], state[5] = DEAD, 0, INSTEAD, words
    end
    if state[4] ~= '' then state[5] = INSTEAD end
    if state[6] ~= '' then state[6] = INSTEAD end
    for _, attempt in ipairs(state[7]) do
        if attempt[4] then attempt[4] = INSTEAD end
    end
    set_state(action, state)
    call('HSET', ACT, field, destination .. stays)
    freed = freed + #stored - 8 - #stays
end

call('XDEL', log_of(src), stream_id(id))
call('ZADD', gone_of(src), 0, id .. string.sub(entry, 1, 16) .. ARGV[5])
if plan ~= '' then
    call('HSET', ACT, src .. id, string.sub(plan, 1, 12) .. ARGV[6])
    freed = freed + #plan - 12 - #ARGV[6]
end
local at = 8
for run = 1, tonumber(ARGV[7]) do
    local field = src .. id .. struct.pack('>I2', run)
    call('HSET', ACT, field, string.sub(call('HGET', ACT, field), 1, 18) .. ARGV[at])
    at = at + 1
end
local removed = 0
for n = 1, tonumber(ARGV[at]) do
    local action = ARGV[at - 2 + 3 * n]
    forget(action, ARGV[at - 1 + 3 * n])
    removed = removed + tonumber(ARGV[at + 3 * n])
end
grew(src, -freed)
return removed
