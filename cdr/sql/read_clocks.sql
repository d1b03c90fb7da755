-- The next CDRs in the order of the unique key, of one range of provider_time, each with what its clock is read from.
SELECT identity, provider_time, account, call_id, time_raw, first_received_at, started_at, time_rule
FROM cdr.cdrs
WHERE provider_time >= %(begins)s AND provider_time < %(ends)s
  AND (identity, provider_time) > (%(after_identity)s, %(after_time)s)
  AND (%(account)s::text IS NULL OR account = %(account)s::text)
  AND (%(call_id)s::text IS NULL OR call_id = %(call_id)s::text)
  -- Finds them by index where the account is known too.
  AND (%(call_key)s::uuid IS NULL OR call_key = %(call_key)s::uuid)
  AND (%(since)s::timestamptz IS NULL OR started_at >= %(since)s::timestamptz)
  AND (%(until)s::timestamptz IS NULL OR started_at <= %(until)s::timestamptz)
  -- The same in words that leave out partitions: no zone is a day off, and what has no time is of 1970.
  AND (
      provider_time = '1970-01-01'
      OR provider_time BETWEEN
          coalesce(%(since)s::timestamptz AT TIME ZONE 'UTC' - interval '1 day', '-infinity')
          AND coalesce(%(until)s::timestamptz AT TIME ZONE 'UTC' + interval '1 day', 'infinity')
  )
ORDER BY identity, provider_time
LIMIT %(limit)s
