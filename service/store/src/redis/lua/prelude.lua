-- What every script begins with. KEYS are prefixes of partitions, `<name>{pNN}:`, mostly one; whatever a
-- script touches begins with one, so that a cluster knows where all of it is. ARGV[1] is the time in
-- milliseconds, or 0 for the server's own. Events and actions are opaque: nothing of them is ever decoded
-- here.
--
-- An event is `src` (8 bytes) and `id` (milliseconds 6, sequence 2); an action `id src run index` (20
-- bytes); a queue `src destination` (16 bytes); a lane 8 bytes. Numbers are big-endian, so they sort.

local now = tonumber(ARGV[1])
if now == 0 then
    local time = redis.call('TIME')
    now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end

-- The partition the script is in. Numbers, items and bells below (`next_place`, `append`, `ring`) are of the
-- first: a script that enters another uses none of them.
local P, META, ACT, CUR, SRC, SIZE, LEASE, EXP, OWN, OPEN
local function enter(prefix)
    P = prefix
    META, ACT, CUR, SRC = P .. 'meta', P .. 'act', P .. 'cur', P .. 'src'
    SIZE, LEASE, EXP, OWN, OPEN = P .. 'size', P .. 'lease', P .. 'exp', P .. 'own', P .. 'open'
end
enter(KEYS[1])

local call = redis.call
local PENDING, DELIVERED, FAILED, DEAD = 0, 1, 2, 3
-- What a record takes besides its bytes, about.
local OVERHEAD = 32

-- Whether an id comes before another: `<` of texts goes by the language that Redis was started in.
local function earlier(id, other)
    local millis, sequence = struct.unpack('>I6I2', id)
    local other_millis, other_sequence = struct.unpack('>I6I2', other)
    return millis < other_millis or millis == other_millis and sequence < other_sequence
end

local function log_of(src) return P .. 'log:' .. src end
local function gone_of(src) return P .. 'gone:' .. src end
local function dead_of(src) return P .. 'dead:' .. src end
local function heads_of(queue) return P .. 'head:' .. queue end
local function rest_of(queue, lane) return P .. 'rest:' .. queue .. lane end
local function ready_of(queue) return P .. 'ready:' .. queue end
local function due_of(queue) return P .. 'due:' .. queue end

-- Whole numbers as text; `..` would give 1.8e+12.
local function text(number) return string.format('%.0f', number) end

-- Where the hash of actions has an action, whose id begins with the event's.
local function field_of(action)
    return string.sub(action, 9, 16) .. string.sub(action, 1, 8) .. string.sub(action, 17, 20)
end

local function stream_id(id)
    local millis, sequence = struct.unpack('>I6I2', id)
    return text(millis) .. '-' .. text(sequence)
end

-- The last of what begins with an id, for a range.
local function upto(id) return '[' .. id .. string.rep('\255', 17) end

-- The entry of a log as it is kept; nil: there is none.
local function entry_of(src, id)
    local at = stream_id(id)
    local found = call('XRANGE', log_of(src), at, at)[1]
    return found and found[2][2]
end

-- The same of an erased one, which no longer is in the stream.
local function erased_of(src, id)
    local found = call('ZRANGEBYLEX', gone_of(src), '[' .. id, upto(id), 'LIMIT', 0, 1)[1]
    return found and string.sub(found, 9)
end

local function grew(src, bytes)
    if bytes ~= 0 then call('HINCRBY', SIZE, src, text(bytes)) end
end

-- To call a command takes a script about as long as what the command does, so much is done by few of them.
-- Arguments of one: Lua's stack holds some thousands. Even, as fields come with values.
local AT_ONCE = 1000

-- Calls a command for all of a list.
local function call_in_parts(command, key, list)
    for from = 1, #list, AT_ONCE do
        call(command, key, unpack(list, from, math.min(from + AT_ONCE - 1, #list)))
    end
end

-- Fields and values of a hash, in turn.
local function set_fields(key, fields) call_in_parts('HSET', key, fields) end

-- What a hash has in these fields; false: nothing.
local function get_fields(key, fields)
    local values = {}
    for from = 1, #fields, AT_ONCE do
        local part = call('HMGET', key, unpack(fields, from, math.min(from + AT_ONCE - 1, #fields)))
        for n, value in ipairs(part) do values[from + n - 1] = value end
    end
    return values
end

-- Who listens hears of each queue once a script.
local rung = {}
local function ring(queue)
    if not rung[queue] then
        rung[queue] = true
        call('SPUBLISH', P, 'q' .. queue)
    end
end

-- Claims: 40 bits of the original's milliseconds since CLAIMS_BEGIN, 11 of its sequence, 5 for the window.
local CLAIMS_BEGIN = 1600000000000

-- The event a claim stands for, milliseconds and sequence; nil: its window is over.
local function claimant(value)
    local millis, rest = struct.unpack('>I5I2', value)
    millis = millis + CLAIMS_BEGIN
    if now < millis + WINDOWS[rest % 32 + 1] then return millis, math.floor(rest / 32) end
end

local function owned_by(holder)
    return call('GET', OWN) == holder
end

-- What became of an action: state, attempts that ended, not before, reason's code and words, answer,
-- attempts with begin, end and, if they failed, code and words.
local function new_state() return { PENDING, 0, 0, '', '', '', {} } end

local function state_of(action)
    local stored = call('HGET', ACT, field_of(action) .. 's')
    return stored and cmsgpack.unpack(stored) or new_state()
end

local function set_state(action, state)
    call('HSET', ACT, field_of(action) .. 's', cmsgpack.pack(state))
end

-- Attempts kept of one action: the first and the last ones.
local MAX_HISTORY = 10

local function attempted(state, kind, attempt, started, code, words)
    local history = state[7]
    state[1], state[2], state[3] = kind, attempt, 0
    if #history >= MAX_HISTORY then table.remove(history, 2) end
    local ended = math.max(now, started)
    if code then
        state[4], state[5] = code, words
        history[#history + 1] = { started, ended, code, words }
    else
        history[#history + 1] = { started, ended }
    end
end

-- Lanes. The head of each is in the queue's hash: where it stands (READY, DELAYED, LEASED), since which
-- number among the ready, until when or by which token; its item, the attempts that ended and when the
-- first of them began (0: never). What is behind it is a list. An item is `action size`, followed by
-- `attempts since` when it came there later than its event came into the log.
local READY, DELAYED, LEASED = 0, 1, 2

-- Numbers of the ready, reserved for a script's own.
local RESERVED = 64
local place, left = 0, 0
local function next_place()
    if left == 0 then
        place, left = call('HINCRBY', META, 'place', RESERVED) - RESERVED, RESERVED
    end
    place, left = place + 1, left - 1
    return place
end

local function set_head(queue, lane, head)
    call('HSET', heads_of(queue), lane, cmsgpack.pack(head))
end

local function head_of(queue, lane)
    local stored = call('HGET', heads_of(queue), lane)
    return stored and cmsgpack.unpack(stored)
end

-- Last among the ready, or among the delayed.
local function put(queue, lane, due, item, attempts, first)
    if due then
        call('ZADD', due_of(queue), text(due), lane)
        set_head(queue, lane, { DELAYED, due, item, attempts, first })
    else
        local number = next_place()
        call('RPUSH', ready_of(queue), lane .. struct.pack('>I6', number))
        set_head(queue, lane, { READY, number, item, attempts, first })
    end
    ring(queue)
end

-- Attempts that ended before an item came into its lane.
local function attempts_of(item)
    if #item > 24 then return (struct.unpack('>I4', item, 25)) end
    return 0
end

-- Items that come into lanes are collected.
local appended = {}
local function append(queue, lane, item)
    local items = appended[queue] or {}
    appended[queue] = items
    items[#items + 1] = { lane, item }
end

-- Once, at the end of a script that appends.
local function into_lanes()
    for queue, items in pairs(appended) do
        local lanes, heads, ready, begun = {}, {}, {}, {}
        for n, it in ipairs(items) do lanes[n] = it[1] end
        for n, head in ipairs(get_fields(heads_of(queue), lanes)) do
            local lane, item = items[n][1], items[n][2]
            if head or begun[lane] then
                call('RPUSH', rest_of(queue, lane), item)
            else
                begun[lane] = true
                local number = next_place()
                heads[#heads + 1] = lane
                heads[#heads + 1] = cmsgpack.pack({ READY, number, item, attempts_of(item), 0 })
                ready[#ready + 1] = lane .. struct.pack('>I6', number)
            end
        end
        set_fields(heads_of(queue), heads)
        call_in_parts('RPUSH', ready_of(queue), ready)
        ring(queue)
    end
end

-- The head is gone; the next one is ready. What stands for it among the ready is passed over later.
local function go_on(queue, lane)
    local item = call('LPOP', rest_of(queue, lane))
    if item then
        put(queue, lane, nil, item, attempts_of(item), 0)
    else
        call('HDEL', heads_of(queue), lane)
        ring(queue)
    end
end

-- Since when an item waits.
local function since_of(item)
    if #item > 24 then return (struct.unpack('>I8', item, 29)) end
    return (struct.unpack('>I6', item))
end

local function fewer_open(queue, count)
    if call('HINCRBY', OPEN, queue, -count) <= 0 then call('HDEL', OPEN, queue) end
end

local function end_lease(token, queue)
    call('HDEL', LEASE, token)
    call('ZREM', EXP, token)
    fewer_open(queue, 1)
end

-- A leased head comes back. With a code the attempt counts.
local function give_back(token, lease, due, code, words)
    local queue, lane, started = lease[1], lease[2], lease[3]
    local head = head_of(queue, lane)
    end_lease(token, queue)
    local item, attempts, first = head[3], head[4], head[5]
    local action = string.sub(item, 1, 20)
    local state = state_of(action)
    if code then
        attempts = attempts + 1
        if first == 0 then first = started end
        attempted(state, PENDING, attempts, started, code, words)
    end
    state[3] = due or 0
    set_state(action, state)
    put(queue, lane, due, item, attempts, first)
end

local TIME_IS_UP = 'the lease ended before the consumer settled it'
local ENDED_AT_ONCE = 256

-- Leases whose time is up.
local function end_expired()
    local tokens = call('ZRANGEBYSCORE', EXP, '-inf', text(now), 'LIMIT', 0, ENDED_AT_ONCE)
    for _, token in ipairs(tokens) do
        local lease = cmsgpack.unpack(call('HGET', LEASE, token))
        give_back(token, lease, nil, 'lease_expired', TIME_IS_UP)
    end
    return #tokens == ENDED_AT_ONCE
end

-- The actions of a run; ARGV from `at`: how many, and of each its destination, record, code and words (no
-- code: it could be rendered). What is for ACT is added to `fields`, for the caller to set; what waits goes
-- `into_lanes`. Where ARGV goes on, and the bytes of the records.
local function write_actions(at, src, id, run, lane, again, fields)
    local count = tonumber(ARGV[at])
    local bytes = 0
    at = at + 1
    for index = 0, count - 1 do
        local destination, record = ARGV[at], ARGV[at + 1]
        local code, words = ARGV[at + 2], ARGV[at + 3]
        local action = id .. src .. struct.pack('>I2I2', run, index)
        fields[#fields + 1] = field_of(action)
        fields[#fields + 1] = destination .. record
        bytes = bytes + #record + OVERHEAD
        if code == '' then
            append(src .. destination, lane, action .. struct.pack('>I4', #record) .. again)
        else
            fields[#fields + 1] = field_of(action) .. 's'
            fields[#fields + 1] = cmsgpack.pack({ FAILED, 0, 0, code, words, '', {} })
            call('ZADD', dead_of(src), 0, action)
        end
        at = at + 4
    end
    return at, bytes
end
