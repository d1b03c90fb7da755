-- Keeps in the outbox, with the reason, a call whose row cannot be made.
INSERT INTO cdr.outbox (kind, call_keys, provider_times, error)
VALUES ('calls', %(call_keys)s::uuid[], %(provider_times)s::timestamp[], %(error)s)
