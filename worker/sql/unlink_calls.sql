-- Forgets the step from a call whose CDRs name no original call any more, or only itself.
DELETE FROM cdr.call_links AS known
WHERE
    known.call_key = ANY(%(call_keys)s::uuid[])
    AND NOT EXISTS (
        SELECT FROM cdr.cdrs AS c
        WHERE
            c.call_key = known.call_key
            AND c.provider_time BETWEEN %(from)s AND %(to)s
            AND c.original_call_id <> c.call_id
        -- As in fold_calls: a call at a time.
        OFFSET 0
    )
