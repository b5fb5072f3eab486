-- ARGV: time, holder, for how long in milliseconds. Whether the partition is the holder's now.
local owner = call('GET', OWN)
if owner and owner ~= ARGV[2] then return 0 end
call('SET', OWN, ARGV[2], 'PX', ARGV[3])
return 1
