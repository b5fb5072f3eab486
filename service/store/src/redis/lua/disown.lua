-- ARGV: time, holder, or the beginning of its name. Gives the partition up.
local owner = call('GET', OWN)
if owner and string.sub(owner, 1, #ARGV[2]) == ARGV[2] then call('DEL', OWN) end
return 1
