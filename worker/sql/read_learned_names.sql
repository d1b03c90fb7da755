-- Others wait while this is read and decided on, so it is bounded. A code that has as many as this may get no more anyway.
SELECT wanted.account, wanted.extension_code, start, extension_name
FROM unnest(%(accounts)s::text[], %(codes)s::text[]) AS wanted (account, extension_code)
CROSS JOIN LATERAL (
    SELECT extract(epoch FROM valid_from)::float8 AS start, extension_name
    FROM cdr.extensions
    WHERE extensions.account = wanted.account AND extensions.extension_code = wanted.extension_code
        AND source = 'learned'
    ORDER BY valid_from
    LIMIT %(most)s
) AS known
