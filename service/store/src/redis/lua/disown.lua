-- ARGV: time, holder. Gives the partition up.
if owned_by(ARGV[2]) then call('DEL', OWN) end
return 1
