-- ARGV: time, holder, source, id: the cursor moves to an entry that needs no plan. False: the partition
-- is another's now.

if not owned_by(ARGV[2]) then return false end
local cursor = call('HGET', CUR, ARGV[3])
if not cursor or earlier(cursor, ARGV[4]) then call('HSET', CUR, ARGV[3], ARGV[4]) end
return true
