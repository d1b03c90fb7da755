-- A name is imported from a day on in the account's zone, and learned from a call, whose time says its offset.
SELECT
    extensions.account, extension_code, extension_name, source,
    CASE
        WHEN NOT isfinite(valid_from) THEN NULL
        WHEN source = 'import' THEN to_char(valid_from AT TIME ZONE coalesce(time_zone, %(time_zone)s), 'YYYY-MM-DD')
        ELSE to_char(valid_from AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"+00:00"')
    END
FROM cdr.extensions
LEFT JOIN cdr.accounts ON accounts.account = extensions.account
WHERE %(account)s::text IS NULL OR extensions.account = %(account)s::text
ORDER BY extensions.account, extension_code, source, valid_from
