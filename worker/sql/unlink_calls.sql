-- Forgets the step from a call whose CDRs name no original call any more, or only itself.
-- Bounds as in link_calls.
DELETE FROM cdr.call_links AS known
USING
    unnest(%(call_keys)s::uuid[], %(firsts)s::timestamp[], %(lasts)s::timestamp[])
        AS touched (call_key, first_time, last_time)
WHERE
    known.call_key = touched.call_key
    AND NOT EXISTS (
        SELECT FROM cdr.cdrs AS c
        WHERE
            c.call_key = known.call_key
            AND c.provider_time BETWEEN %(from)s AND %(to)s
            AND c.provider_time BETWEEN touched.first_time AND touched.last_time
            AND c.original_call_id <> c.call_id
        -- As in fold_calls: a call at a time.
        OFFSET 0
    )
