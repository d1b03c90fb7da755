SELECT
    extensions.account, extension_code, extension_name, source,
    CASE WHEN isfinite(valid_from)
        THEN to_char(valid_from AT TIME ZONE coalesce(time_zone, %(time_zone)s), 'YYYY-MM-DD')
    END
FROM cdr.extensions
LEFT JOIN cdr.accounts ON accounts.account = extensions.account
WHERE %(account)s::text IS NULL OR extensions.account = %(account)s::text
ORDER BY extensions.account, extension_code, source, valid_from
