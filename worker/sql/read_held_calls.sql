-- The calls whose fold failed for a time and is to be tried again.
SELECT unnest(call_keys)::text FROM cdr.outbox WHERE kind = 'calls' AND error IS NULL AND retry_at IS NOT NULL
