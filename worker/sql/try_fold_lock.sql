-- One folder at a time; the lock ends with the transaction, so a killed folder leaves nothing behind.
SELECT pg_try_advisory_xact_lock(hashtext('cdr.fold_calls'))
