-- ARGV: time, queue. How many lanes wait, and acceptance of the event of the head that waits longest
-- ('': none), about: of the first ready, the first delayed and some others.

local queue, oldest = ARGV[2], nil

local function look(head)
    local accepted = struct.unpack('>I6', head[3])
    if not oldest or accepted < oldest then oldest = accepted end
end

local ready = call('LINDEX', ready_of(queue), 0)
local lanes = call('ZRANGE', due_of(queue), 0, 0)
if ready then lanes[#lanes + 1] = string.sub(ready, 1, 8) end
for _, lane in ipairs(lanes) do
    local head = head_of(queue, lane)
    if head then look(head) end
end
local some = call('HSCAN', heads_of(queue), 0, 'COUNT', 8)[2]
for n = 2, #some, 2 do look(cmsgpack.unpack(some[n])) end
return { call('HLEN', heads_of(queue)), oldest and text(oldest) or '' }
