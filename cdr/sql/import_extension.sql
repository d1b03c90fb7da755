INSERT INTO cdr.extensions AS known (account, extension_code, extension_name, source, valid_from)
VALUES (
    %(account)s, %(extension_code)s, %(extension_name)s, 'import',
    coalesce(
        %(valid_from)s::date::timestamp AT TIME ZONE coalesce(
            (SELECT time_zone FROM cdr.accounts WHERE account = %(account)s), %(time_zone)s),
        '-infinity')
)
ON CONFLICT (account, extension_code, source, valid_from) DO UPDATE SET
    extension_name = excluded.extension_name,
    updated_at = now()
WHERE known.extension_name <> excluded.extension_name
