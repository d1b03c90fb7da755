SELECT account, extension_code, extract(epoch FROM valid_from)::float8, extension_name
FROM cdr.extensions
WHERE source = 'learned'
    AND (account, extension_code) IN (SELECT * FROM unnest(%(accounts)s::text[], %(codes)s::text[]))
