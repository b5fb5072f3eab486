-- ARGV: time, queue, what was read ('': nothing), what is written. Whether it was still as read.
local key = P .. 'hold'
if (call('HGET', key, ARGV[2]) or '') ~= ARGV[3] then return 0 end
call('HSET', key, ARGV[2], ARGV[4])
ring(ARGV[2])
return 1
