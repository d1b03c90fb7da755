-- Notes the original call that these calls name now: that of the earliest CDR that names one.
INSERT INTO cdr.call_links AS known (call_key, account, call_id, original_call_key, original_call_id, root_key)
SELECT DISTINCT ON (c.call_key)
    c.call_key, c.account, c.call_id,
    cdr.call_key(c.account, c.original_call_id), c.original_call_id, c.call_key
FROM cdr.cdrs AS c
WHERE
    c.call_key = ANY(%(call_keys)s::uuid[])
    AND c.provider_time BETWEEN %(from)s AND %(to)s
    AND c.original_call_id <> c.call_id
ORDER BY c.call_key, c.started_at, c.identity
ON CONFLICT (call_key) DO UPDATE
SET original_call_key = excluded.original_call_key, original_call_id = excluded.original_call_id
WHERE known.original_call_key <> excluded.original_call_key
