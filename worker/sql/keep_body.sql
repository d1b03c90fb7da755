INSERT INTO cdr.quarantine AS kept
    (received_at, last_received_at, account, format, reason, error, headers, body, sha256)
VALUES
    (%(received_at)s, %(received_at)s, %(account)s, %(format)s, %(reason)s, %(error)s, %(headers)s::jsonb, %(body)s, %(sha256)s)
ON CONFLICT (account, sha256) DO UPDATE SET
    received_at = least(kept.received_at, excluded.received_at),
    last_received_at = greatest(kept.last_received_at, excluded.last_received_at),
    -- A job that runs again brings nothing new.
    received_count = kept.received_count
        + (excluded.received_at NOT IN (kept.received_at, kept.last_received_at))::integer,
    reason = excluded.reason,
    error = excluded.error,
    status = 'kept'
