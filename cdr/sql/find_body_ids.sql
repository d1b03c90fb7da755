SELECT quarantine_id
FROM cdr.quarantine
WHERE quarantine_id = ANY(%(ids)s::bigint[])
