-- Adds times of further CDRs of a call to the entry with which it waits.
UPDATE cdr.outbox SET
    call_keys = call_keys || array_fill(%(call_key)s::uuid, ARRAY[cardinality(%(provider_times)s::timestamp[])]),
    provider_times = provider_times || %(provider_times)s::timestamp[]
WHERE outbox_id = (
    SELECT min(outbox_id) FROM cdr.outbox
    WHERE kind = 'calls' AND error IS NULL AND retry_at IS NOT NULL AND %(call_key)s::uuid = ANY(call_keys)
)
