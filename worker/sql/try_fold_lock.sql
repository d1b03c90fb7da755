-- One folder at a time; the lock ends with the transaction, so a killed folder leaves nothing behind. The commit need
-- not wait for the disk: were it lost, the outbox would still hold what it folded. Plans are kept as in look_up_by_key.
SELECT
    pg_try_advisory_xact_lock(hashtext('cdr.fold_calls')), set_config('synchronous_commit', 'off', true),
    set_config('enable_seqscan', 'off', true), set_config('plan_cache_mode', 'force_generic_plan', true)
