INSERT INTO cdr.quarantine AS kept
    (received_at, last_received_at, account, format, reason, error, headers, body, sha256)
VALUES
    (%(received_at)s, %(received_at)s, %(account)s, %(format)s, %(reason)s, %(error)s, %(headers)s::jsonb, %(body)s, %(sha256)s)
ON CONFLICT (account, sha256) DO UPDATE SET
    received_at = least(kept.received_at, excluded.received_at),
    last_received_at = greatest(kept.last_received_at, excluded.last_received_at),
    received_count = kept.received_count + 1,
    reason = excluded.reason,
    error = excluded.error,
    status = 'kept'
