-- ARGV: time, queue, what was read ('': nothing), what is written. Whether it was still as read.
local key = P .. 'hold'
local stored = call('HGET', key, ARGV[2]) or ''
-- Sent again by a connection that did not get the answer.
if stored == ARGV[4] then return 1 end
if stored ~= ARGV[3] then return 0 end
call('HSET', key, ARGV[2], ARGV[4])
ring(ARGV[2])
return 1
