-- Gives CDRs the names that they still lack. The rows are locked in the order of the unique key, as loaders lock them, so
-- that each waits for the other in one direction.
WITH named AS (
    SELECT * FROM unnest(
        %(identities)s::bytea[], %(provider_times)s::timestamp[], %(caller_names)s::text[], %(answering_names)s::text[]
    ) AS named (identity, provider_time, caller_name, answering_name)
),
locked AS MATERIALIZED (
    SELECT identity, provider_time FROM cdr.cdrs
    WHERE (identity, provider_time) IN (SELECT identity, provider_time FROM named)
        AND provider_time BETWEEN %(first)s AND %(last)s
    ORDER BY identity, provider_time
    FOR UPDATE
)
UPDATE cdr.cdrs AS known SET
    caller_extension_name = coalesce(known.caller_extension_name, named.caller_name),
    answering_extension_name = coalesce(known.answering_extension_name, named.answering_name)
FROM locked JOIN named ON named.identity = locked.identity AND named.provider_time = locked.provider_time
WHERE known.identity = locked.identity AND known.provider_time = locked.provider_time
    AND known.provider_time BETWEEN %(first)s AND %(last)s
    AND (
        (known.caller_extension_name IS NULL AND named.caller_name IS NOT NULL)
        OR (known.answering_extension_name IS NULL AND named.answering_name IS NOT NULL)
    )
