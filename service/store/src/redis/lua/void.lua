-- ARGV: time, beginning of the holder's name, code, words. Ends the leases of a process that is gone;
-- with a code they count as attempts.

while end_expired() do end
local code = ARGV[3] ~= '' and ARGV[3] or nil
for _, token in ipairs(call('ZRANGE', EXP, 0, -1)) do
    local lease = cmsgpack.unpack(call('HGET', LEASE, token))
    if string.sub(lease[4], 1, #ARGV[2]) == ARGV[2] then
        give_back(token, lease, nil, code, ARGV[4])
    end
end
return 1
