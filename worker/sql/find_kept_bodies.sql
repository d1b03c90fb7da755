SELECT
    quarantine_id, received_at, last_received_at, received_count, account, format, reason, error, octet_length(body)
FROM cdr.quarantine
WHERE status = 'kept'
  AND quarantine_id > %(after)s AND quarantine_id <= %(last)s
  AND (%(ids)s::bigint[] IS NULL OR quarantine_id = ANY(%(ids)s::bigint[]))
  AND (%(reason)s::text IS NULL OR reason = %(reason)s::text)
  AND (%(account)s::text IS NULL OR account = %(account)s::text)
  AND (%(since)s::timestamptz IS NULL OR last_received_at >= %(since)s::timestamptz)
  AND (%(until)s::timestamptz IS NULL OR received_at <= %(until)s::timestamptz)
ORDER BY quarantine_id
LIMIT %(page_size)s
