-- The time written is the clock's, not that of the transaction's beginning: workers look for what was changed of late.
INSERT INTO cdr.extensions (account, extension_code, extension_name, source, valid_from, updated_at)
SELECT account, extension_code, extension_name, 'learned', to_timestamp(start), clock_timestamp()
FROM unnest(%(accounts)s::text[], %(codes)s::text[], %(names)s::text[], %(starts)s::float8[])
    AS learned (account, extension_code, extension_name, start)
ON CONFLICT (account, extension_code, source, valid_from) DO NOTHING
