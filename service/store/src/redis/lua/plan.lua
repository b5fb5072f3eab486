-- ARGV: time, holder, number of events, of each [source, id, lane 8, record, record without words,
-- actions as `write_actions` has them]. False: the partition is another's now.

if not owned_by(ARGV[2]) then return false end
local at = 4
for _ = 1, tonumber(ARGV[3]) do
    local src, id, lane, record = ARGV[at], ARGV[at + 1], ARGV[at + 2], ARGV[at + 3]
    local blank = ARGV[at + 4]
    local count = tonumber(ARGV[at + 5])
    local cursor = call('HGET', CUR, src)
    if cursor and cursor >= id then
        -- Planned already.
        at = at + 6 + 4 * count
    else
        call('HSET', CUR, src, id)
        if call('EXISTS', gone_of(src)) == 1 and erased_of(src, id) then
            record, at, count = blank, at + 6 + 4 * count, 0
        else
            at = write_actions(at + 5, src, id, 0, lane, '')
        end
        call('HSET', ACT, src .. id, struct.pack('>I2I2c0', count, 0, lane) .. record)
        grew(src, #record + OVERHEAD)
    end
end
return true
