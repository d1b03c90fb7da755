INSERT INTO cdr.extensions AS known (account, extension_code, extension_name, source, valid_from, updated_at)
SELECT
    imported.account, extension_code, extension_name, 'import',
    coalesce(day::timestamp AT TIME ZONE coalesce(accounts.time_zone, %(time_zone)s), '-infinity'),
    clock_timestamp()
FROM unnest(%(accounts)s::text[], %(codes)s::text[], %(names)s::text[], %(days)s::date[])
    WITH ORDINALITY AS imported (account, extension_code, extension_name, day, place)
LEFT JOIN cdr.accounts ON accounts.account = imported.account
ORDER BY place
ON CONFLICT (account, extension_code, source, valid_from) DO UPDATE SET
    extension_name = excluded.extension_name,
    updated_at = excluded.updated_at
WHERE known.extension_name <> excluded.extension_name
