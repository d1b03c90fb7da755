-- Keeps in the outbox, with the reason, a call whose row the database refuses.
INSERT INTO cdr.outbox (kind, call_keys, provider_times, error)
VALUES ('calls', array_fill(%(call_key)s::uuid, ARRAY[cardinality(%(provider_times)s::timestamp[])]), %(provider_times)s, %(error)s)
