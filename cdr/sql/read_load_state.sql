SELECT
    (SELECT count(*) FROM cdr.outbox),
    (SELECT extract(epoch FROM now() - min(created_at)) FROM cdr.outbox),
    (SELECT count(*) FROM cdr.quarantine WHERE status = 'kept')
