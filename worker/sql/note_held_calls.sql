-- Keeps calls in the outbox whose fold failed for a time.
INSERT INTO cdr.outbox (kind, call_keys, provider_times, tries, retry_at)
VALUES (
    'calls', %(call_keys)s::uuid[], %(provider_times)s::timestamp[], %(tries)s, now() + make_interval(secs => %(seconds)s)
)
