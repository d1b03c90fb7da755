SELECT
    quarantine_id, received_at, last_received_at, received_count, account, format, reason, error, octet_length(body),
    status, headers, body
FROM cdr.quarantine
WHERE quarantine_id = %(quarantine_id)s
