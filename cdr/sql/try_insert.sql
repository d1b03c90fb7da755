-- Run in a transaction that is rolled back: whether a CDR can be inserted at all.
INSERT INTO cdr.cdrs (
    identity, provider_time, account, call_id, call_key, outcome, started_at, time_rule, payload, format,
    delivery_id, delivery_place, first_received_at, last_received_at
)
VALUES (
    sha256(gen_random_uuid()::text::bytea), now() AT TIME ZONE 'UTC', 'cdr-doctor', 'cdr-doctor',
    cdr.call_key('cdr-doctor', 'cdr-doctor'), 'other', now(), 'received', '{}', 'json',
    gen_random_uuid(), 0, now(), now()
)
