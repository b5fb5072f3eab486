-- ARGV: time, name 16, number of events, of each [source, id, record, actions as `write_actions` has
-- them]. The run of each; 0: there is none.

local function run_of(src, id)
    local plan = call('HGET', ACT, src .. id)
    if not plan or not entry_of(src, id) then return 0 end
    local count, runs, lane = struct.unpack('>I2I2c8', plan)
    for run = 1, runs do
        local stored = call('HGET', ACT, src .. id .. struct.pack('>I2', run))
        if string.sub(stored, 3, 18) == ARGV[2] then return 0 end
    end
    if runs == 65535 then return 0 end
    call('HSET', ACT, src .. id, struct.pack('>I2I2', count, runs + 1) .. string.sub(plan, 5))
    return runs + 1, lane
end

local again = struct.pack('>I4I8', 0, now)
local answers = {}
local at = 4
for n = 1, tonumber(ARGV[3]) do
    local src, id, record, count = ARGV[at], ARGV[at + 1], ARGV[at + 2], tonumber(ARGV[at + 3])
    local run, lane = run_of(src, id)
    if run == 0 then
        at = at + 4 + 4 * count
    else
        local field = src .. id .. struct.pack('>I2', run)
        local fields = { field, struct.pack('>I2', count) .. ARGV[2] .. record }
        local bytes
        at, bytes = write_actions(at + 3, src, id, run, lane, again, fields)
        set_fields(ACT, fields)
        grew(src, #record + 16 + OVERHEAD + bytes)
    end
    answers[n] = run
end
into_lanes()
return answers
