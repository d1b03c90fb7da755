-- One learner at a time, from here to its commit; what it reads next is what the one before it has left.
SELECT pg_advisory_xact_lock(hashtext('cdr.learn_extensions'))
