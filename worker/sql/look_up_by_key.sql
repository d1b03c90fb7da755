-- To the end of the transaction rows are found by their key, one by one. What a table holds PostgreSQL knows late while it
-- grows, and of a temporary one never, so that it would read whole partitions to find some rows. A plan made so is good for
-- whatever is looked up: to make another for each batch takes as long as to run it for a small one.
SELECT
    set_config('enable_hashjoin', 'off', true), set_config('enable_mergejoin', 'off', true),
    set_config('enable_seqscan', 'off', true), set_config('plan_cache_mode', 'force_generic_plan', true)
