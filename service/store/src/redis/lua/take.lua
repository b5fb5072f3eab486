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

local function first_due()
    return call('ZRANGE', due_of(queue), 0, 0, 'WITHSCORES')[2] or ''
end

-- Leases a head; what the taker is told of it.
local function lease_of(token, lane, head)
    local action = string.sub(head[3], 1, 20)
    call('HSET', LEASE, token, cmsgpack.pack({ queue, lane, now, holder, now + time }))
    call('ZADD', EXP, text(now + time), token)
    local record = string.sub(call('HGET', ACT, field_of(action)), 9)
    return { token, head[4] + 1, head[5], action, record }
end

-- A connection sends a command again whose answer it did not get. What it leased the first time is told
-- once more, as far as it is still leased.
local asked, again = {}, {}
for n = 1, max do asked[n] = string.sub(tokens, n * 16 - 15, n * 16) end
for from = 1, max, 1000 do
    local leases = call('HMGET', LEASE, unpack(asked, from, math.min(from + 999, max)))
    for n, lease in ipairs(leases) do
        if lease then
            local token, lane = asked[from + n - 1], cmsgpack.unpack(lease)[2]
            again[#again + 1] = lease_of(token, lane, head_of(queue, lane))
        end
    end
end
if #again > 0 then return { text(now), first_due(), again } end

local due, ready = due_of(queue), ready_of(queue)
local promoted = math.min(math.max(max, 64), 1024)
for _, lane in ipairs(call('ZRANGEBYSCORE', due, '-inf', text(now), 'LIMIT', 0, promoted)) do
    local head = head_of(queue, lane)
    call('ZREM', due, lane)
    put(queue, lane, nil, head[3], head[4], head[5])
end
local next_due = first_due()

max = math.min(max, PER_QUEUE - tonumber(call('HGET', OPEN, queue) or 0))
local taken, bytes = {}, 0

-- Leases one of the ready; false: no more may be taken.
local function take(entry)
    local lane, number = string.sub(entry, 1, 8), struct.unpack('>I6', entry, 9)
    local head = head_of(queue, lane)
    if not head or head[1] ~= READY or head[2] ~= number then return true end
    local item = head[3]
    bytes = bytes + struct.unpack('>I4', item, 21)
    if bytes > most and #taken > 0 then return false end
    local token = asked[#taken + 1]
    set_head(queue, lane, { LEASED, token, item, head[4], head[5] })
    taken[#taken + 1] = lease_of(token, lane, head)
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
return { text(now), next_due, taken }
