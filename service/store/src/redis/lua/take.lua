-- ARGV: time, queue, how many, for how long, as much as that in bytes, holder, whether only an owner may
-- ('1'), tokens (16 bytes each). The time, when the next delayed one is due ('': none), and of each lease
-- token, attempt, begin of the first one (0: this is it), action and record. False: the partition is
-- another's now.

local PER_QUEUE = 65536
local LOOKED_AT = 128

if ARGV[7] == '1' and not owned_by(ARGV[6]) then return false end
local queue, max, time = ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local most, holder, tokens = tonumber(ARGV[5]), ARGV[6], ARGV[8]
end_expired()

local due, ready = due_of(queue), ready_of(queue)
local promoted = math.min(math.max(max, 64), 1024)
for _, lane in ipairs(call('ZRANGEBYSCORE', due, '-inf', text(now), 'LIMIT', 0, promoted)) do
    local head = head_of(queue, lane)
    call('ZREM', due, lane)
    put(queue, lane, nil, head[3], head[4], head[5])
end
local first_due = call('ZRANGE', due, 0, 0, 'WITHSCORES')[2] or ''

max = math.min(max, PER_QUEUE - tonumber(call('HGET', OPEN, queue) or 0))
local taken, bytes, passed = {}, 0, 0

-- Leases one of the ready; false: no more may be taken.
local function take(entry)
    local lane, number = string.sub(entry, 1, 8), struct.unpack('>I6', entry, 9)
    local head = head_of(queue, lane)
    if not head or head[1] ~= READY or head[2] ~= number then return true end
    local item = head[3]
    bytes = bytes + struct.unpack('>I4', item, 21)
    if bytes > most and #taken > 0 then return false end
    local token = string.sub(tokens, #taken * 16 + 1, #taken * 16 + 16)
    local action = string.sub(item, 1, 20)
    set_head(queue, lane, { LEASED, token, item, head[4], head[5] })
    call('HSET', LEASE, token, cmsgpack.pack({ queue, lane, now, holder, now + time }))
    call('ZADD', EXP, text(now + time), token)
    local record = string.sub(call('HGET', ACT, field_of(action)), 9)
    taken[#taken + 1] = { token, head[4] + 1, head[5], action, record }
    return #taken < max
end

local more = max > 0
while more do
    local entries = call('LRANGE', ready, 0, LOOKED_AT - 1)
    local looked_at = 0
    more = #entries == LOOKED_AT
    for _, entry in ipairs(entries) do
        local before = #taken
        local go = take(entry)
        if go or #taken > before then looked_at = looked_at + 1 end
        if not go then
            more = false
            break
        end
    end
    if looked_at > 0 then call('LTRIM', ready, looked_at, -1) end
end
if #taken > 0 then call('HINCRBY', OPEN, queue, #taken) end
return { text(now), first_due, taken }
