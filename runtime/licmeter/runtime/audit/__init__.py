"""The audit: the log counted anew by the pure core, and compared with the counters and with ClickHouse.

`recount` drives the core over one partition, `tables` says what must stand in ClickHouse for it, `books` sums that up
by day, `claims` holds the counters against it, and `differing` goes down to single rows where a day's sums differ.
Nothing here is shared with the worker but the core itself: no batches, no state records, no index of accepted reports.
"""
