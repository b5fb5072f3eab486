-- ARGV: time. Ends leases whose time is up. Whether there may be more.
return end_expired() and 1 or 0
