-- ARGV: time, number of actions, of each [action 20, record with what a failed one was rendered into now,
-- or '']. Of each whether it waits now.

local function revive(action, rendered)
    local id, src = string.sub(action, 1, 8), string.sub(action, 9, 16)
    local stored = call('HGET', ACT, field_of(action))
    if not stored or not entry_of(src, id) then return 0 end
    local state = state_of(action)
    local destination, size = string.sub(stored, 1, 8), #stored - 8
    if state[1] == FAILED and rendered ~= '' then
        call('HSET', ACT, field_of(action), destination .. rendered)
        grew(src, #rendered - size)
        size = #rendered
    elseif state[1] ~= DEAD then
        return 0
    end
    state[1], state[3] = PENDING, 0
    set_state(action, state)
    call('ZREM', dead_of(src), action)
    local lane = string.sub(call('HGET', ACT, src .. id), 5, 12)
    append(src .. destination, lane, action .. struct.pack('>I4I4I8', size, state[2], now))
    return 1
end

local answers = {}
for n = 1, tonumber(ARGV[2]) do answers[n] = revive(ARGV[1 + 2 * n], ARGV[2 + 2 * n]) end
into_lanes()
return answers
