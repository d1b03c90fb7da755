-- These CDRs as they stand, locked in the order of the unique key until the transaction ends, as workers lock them.
SELECT identity, provider_time, account, call_id, time_raw, first_received_at, started_at, time_rule
FROM cdr.cdrs
WHERE provider_time >= %(begins)s AND provider_time < %(ends)s
  AND (identity, provider_time) IN (
      SELECT * FROM unnest(%(identities)s::bytea[], %(provider_times)s::timestamp[])
  )
ORDER BY identity, provider_time
FOR UPDATE
