-- To the end of the transaction rows are found by their key, one by one. What a table holds PostgreSQL knows late while it
-- grows, and of a temporary one never, so that it would read whole partitions to find some rows.
SELECT set_config('enable_hashjoin', 'off', true), set_config('enable_mergejoin', 'off', true)
