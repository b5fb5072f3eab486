-- ARGV: time, holder, for how long, how many bytes of the holder's name are its replica's: a process that
-- comes back after it died takes over from itself. Whether the partition is the holder's now.
local owner = call('GET', OWN)
local same = tonumber(ARGV[4])
if owner and owner ~= ARGV[2] and string.sub(owner, 1, same) ~= string.sub(ARGV[2], 1, same) then
    return 0
end
call('SET', OWN, ARGV[2], 'PX', ARGV[3])
return owner == ARGV[2] and 1 or 2
