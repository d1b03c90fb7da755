-- The links of these calls and of all that they lead up to, at most 32 steps.
WITH RECURSIVE chain AS (
    SELECT call_key, original_call_key, call_id, original_call_id, root_key, 1 AS depth
    FROM cdr.call_links WHERE call_key = ANY(%(call_keys)s::uuid[])
    UNION
    SELECT l.call_key, l.original_call_key, l.call_id, l.original_call_id, l.root_key, chain.depth + 1
    FROM chain
    JOIN cdr.call_links AS l ON l.call_key = chain.original_call_key
    WHERE chain.depth < 32
)
SELECT DISTINCT call_key::text, original_call_key::text, call_id, original_call_id, root_key::text
FROM chain
