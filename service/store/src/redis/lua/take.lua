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

-- Leases heads, of each [token, lane, head]; what the taker is told of them.
local function lease(granted)
    local leases, ends, actions = {}, {}, {}
    local until_then = text(now + time)
    for n, it in ipairs(granted) do
        leases[2 * n - 1] = it[1]
        leases[2 * n] = cmsgpack.pack({ queue, it[2], now, holder, now + time })
        ends[2 * n - 1], ends[2 * n] = until_then, it[1]
        actions[n] = field_of(string.sub(it[3][3], 1, 20))
    end
    set_fields(LEASE, leases)
    call_in_parts('ZADD', EXP, ends)
    local told = {}
    for n, record in ipairs(get_fields(ACT, actions)) do
        local token, head = granted[n][1], granted[n][3]
        local action = string.sub(head[3], 1, 20)
        told[n] = { token, head[4] + 1, head[5], action, string.sub(record, 9) }
    end
    return told
end

-- A connection sends a command again whose answer it did not get. What it leased the first time is told
-- once more, as far as it is still leased.
local asked, again = {}, {}
for n = 1, max do asked[n] = string.sub(tokens, n * 16 - 15, n * 16) end
for n, stored in ipairs(get_fields(LEASE, asked)) do
    if stored then
        local lane = cmsgpack.unpack(stored)[2]
        again[#again + 1] = { asked[n], lane, head_of(queue, lane) }
    end
end
if #again > 0 then return { text(now), first_due(), lease(again) } end

local due, ready = due_of(queue), ready_of(queue)
local promoted = math.min(math.max(max, 64), 1024)
for _, lane in ipairs(call('ZRANGEBYSCORE', due, '-inf', text(now), 'LIMIT', 0, promoted)) do
    local head = head_of(queue, lane)
    call('ZREM', due, lane)
    put(queue, lane, nil, head[3], head[4], head[5])
end
local next_due = first_due()

max = math.min(max, PER_QUEUE - tonumber(call('HGET', OPEN, queue) or 0))
local granted, heads, bytes = {}, {}, 0

-- Takes one of the ready, or passes over what no longer stands for a head; false: it would be too much.
local function take(entry, stored)
    if not stored then return true end
    local lane, number = string.sub(entry, 1, 8), struct.unpack('>I6', entry, 9)
    local head = cmsgpack.unpack(stored)
    if head[1] ~= READY or head[2] ~= number then return true end
    local item = head[3]
    bytes = bytes + struct.unpack('>I4', item, 21)
    if bytes > most and #granted > 0 then return false end
    local token = asked[#granted + 1]
    heads[#heads + 1] = lane
    heads[#heads + 1] = cmsgpack.pack({ LEASED, token, item, head[4], head[5] })
    granted[#granted + 1] = { token, lane, head }
    return true
end

local looked_at = LOOKED_AT
while looked_at == LOOKED_AT and #granted < max do
    local entries = call('LRANGE', ready, 0, LOOKED_AT - 1)
    local lanes = {}
    for n, entry in ipairs(entries) do lanes[n] = string.sub(entry, 1, 8) end
    local stored = get_fields(heads_of(queue), lanes)
    looked_at = 0
    for n, entry in ipairs(entries) do
        if #granted >= max or not take(entry, stored[n]) then break end
        looked_at = n
    end
    if looked_at > 0 then call('LTRIM', ready, looked_at, -1) end
end
set_fields(heads_of(queue), heads)
if #granted > 0 then call('HINCRBY', OPEN, queue, #granted) end
return { text(now), next_due, lease(granted) }
