-- ARGV: time, number of events, as much as that in bytes, of each event [source, id]. What became of each,
-- until that is so much: false when it is not planned, else the plan, the runs [number, plan] and the actions [action, record, state, attempt that is under
-- way or 0].

local bytes = 0

local function actions_of(src, id, run, count, lane, actions)
    for index = 0, count - 1 do
        local action = id .. src .. struct.pack('>I2I2', run, index)
        local stored = call('HGET', ACT, field_of(action))
        local state = state_of(action)
        local attempt = 0
        if state[1] == PENDING then
            local head = head_of(src .. string.sub(stored, 1, 8), lane)
            if head and head[1] == LEASED and string.sub(head[3], 1, 20) == action then
                attempt = head[4] + 1
            end
        end
        bytes = bytes + #stored
        actions[#actions + 1] = { action, string.sub(stored, 9), state, attempt }
    end
end

local function story(src, id)
    local plan = call('HGET', ACT, src .. id)
    if not plan then return false end
    local count, last, lane = struct.unpack('>I2I2c8', plan)
    local actions, runs = {}, {}
    actions_of(src, id, 0, count, lane, actions)
    for run = 1, last do
        local stored = call('HGET', ACT, src .. id .. struct.pack('>I2', run))
        runs[run] = { run, string.sub(stored, 19) }
        actions_of(src, id, run, struct.unpack('>I2', stored), lane, actions)
    end
    return { string.sub(plan, 13), runs, actions }
end

local stories = {}
for n = 1, tonumber(ARGV[2]) do
    stories[n] = story(ARGV[2 + 2 * n], ARGV[3 + 2 * n])
    if bytes >= tonumber(ARGV[3]) then break end
end
return stories
