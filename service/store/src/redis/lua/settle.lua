-- ARGV: time, number of settlements, of each [token 16, source, what, time, code, words]. Of each: 1 it is
-- done, 0 there is no such lease, or until when it lasts now. What: 'ack' (words: the answer), 'retry',
-- 'defer', 'reject', 'extend'; 'lose' is a retry at once.

while end_expired() do end

local FIELDS = 6
local function place_of(n) return 3 + FIELDS * (n - 1) end

local count = tonumber(ARGV[2])
local tokens = {}
for n = 1, count do tokens[n] = ARGV[place_of(n)] end
local leases = get_fields(LEASE, tokens)
local settled = {}
-- Acks and rejects, written when all are settled; the others are given back at once. A lane has one lease at
-- most, so none of this is read before.
local ended, states, lanes, open = {}, {}, {}, {}

local function settle(stored, at)
    local token, src, what = ARGV[at], ARGV[at + 1], ARGV[at + 2]
    local time, code, words = tonumber(ARGV[at + 3]), ARGV[at + 4], ARGV[at + 5]
    if not stored or settled[token] then return 0 end
    local lease = cmsgpack.unpack(stored)
    local queue, lane = lease[1], lease[2]
    if string.sub(queue, 1, 8) ~= src then return 0 end
    if what == 'extend' then
        lease[5] = now + time
        call('HSET', LEASE, token, cmsgpack.pack(lease))
        call('ZADD', EXP, text(lease[5]), token)
        return text(lease[5])
    end
    settled[token] = true
    local due = time > 0 and now + time or nil
    if what == 'retry' or what == 'lose' then
        give_back(token, lease, due, code, words)
        return 1
    elseif what == 'defer' then
        give_back(token, lease, due)
        return 1
    end
    local head = head_of(queue, lane)
    local action = string.sub(head[3], 1, 20)
    local state = head[4] > 0 and state_of(action) or new_state()
    if what == 'reject' then
        attempted(state, DEAD, head[4] + 1, lease[3], code, words)
        call('ZADD', dead_of(src), 0, action)
    else
        attempted(state, DELIVERED, head[4] + 1, lease[3])
        state[6] = words
    end
    states[#states + 1] = field_of(action) .. 's'
    states[#states + 1] = cmsgpack.pack(state)
    ended[#ended + 1] = token
    lanes[#lanes + 1] = { queue, lane }
    open[queue] = (open[queue] or 0) + 1
    return 1
end

local answers = {}
for n = 1, count do answers[n] = settle(leases[n], place_of(n)) end
set_fields(ACT, states)
call_in_parts('HDEL', LEASE, ended)
call_in_parts('ZREM', EXP, ended)
for queue, fewer in pairs(open) do fewer_open(queue, fewer) end
for _, it in ipairs(lanes) do go_on(it[1], it[2]) end
return answers
