SELECT
    count(*) FILTER (WHERE error IS NULL),
    extract(epoch FROM now() - min(created_at) FILTER (WHERE error IS NULL)),
    count(*) FILTER (WHERE error IS NOT NULL)
FROM cdr.outbox
