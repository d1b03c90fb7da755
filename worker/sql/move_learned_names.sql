-- Names that turned out to hold from an earlier call on.
UPDATE cdr.extensions AS known SET valid_from = to_timestamp(earlier.start), updated_at = clock_timestamp()
FROM unnest(%(accounts)s::text[], %(codes)s::text[], %(moved_from)s::float8[], %(starts)s::float8[])
    AS earlier (account, extension_code, moved_from, start)
WHERE known.account = earlier.account AND known.extension_code = earlier.extension_code AND known.source = 'learned'
    AND known.valid_from = to_timestamp(earlier.moved_from)
