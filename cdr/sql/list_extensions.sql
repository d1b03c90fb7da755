-- A name is imported from a day on, and learned from a call.
SELECT
    extensions.account, extension_code, extension_name, source,
    CASE WHEN isfinite(valid_from) THEN to_char(
        valid_from AT TIME ZONE coalesce(time_zone, %(time_zone)s),
        CASE source WHEN 'import' THEN 'YYYY-MM-DD' ELSE 'YYYY-MM-DD HH24:MI:SS' END)
    END
FROM cdr.extensions
LEFT JOIN cdr.accounts ON accounts.account = extensions.account
WHERE %(account)s::text IS NULL OR extensions.account = %(account)s::text
ORDER BY extensions.account, extension_code, source, valid_from
