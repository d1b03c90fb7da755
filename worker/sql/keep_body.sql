INSERT INTO cdr.quarantine AS kept
    (received_at, last_received_at, account, format, reason, error, headers, body, sha256)
VALUES
    (%(received_at)s, %(received_at)s, %(account)s, %(format)s, %(reason)s, %(error)s, %(headers)s::jsonb, %(body)s, %(sha256)s)
ON CONFLICT (account, sha256) DO UPDATE SET
    received_at = least(kept.received_at, excluded.received_at),
    last_received_at = greatest(kept.last_received_at, excluded.last_received_at),
    -- Of a receipt between the first and the last known one nobody can tell whether it was counted, and a job may run again:
    -- it is never counted twice, so that one of several receipts that comes here after a later one may be left out.
    received_count = kept.received_count
        + (excluded.received_at NOT BETWEEN kept.received_at AND kept.last_received_at)::integer,
    -- Only what came later than all that is known opens again what a person has replayed or discarded.
    reason = CASE WHEN excluded.received_at > kept.last_received_at THEN excluded.reason ELSE kept.reason END,
    error = CASE WHEN excluded.received_at > kept.last_received_at THEN excluded.error ELSE kept.error END,
    status = CASE WHEN excluded.received_at > kept.last_received_at THEN 'kept' ELSE kept.status END
