-- The CDRs that carry an extension's code and have no name for it; the code of a side that has its name is null.
SELECT
    identity, provider_time, account, started_at,
    CASE WHEN caller_extension_name IS NULL THEN caller_extension_code END,
    CASE WHEN answering_extension_name IS NULL THEN answering_extension_code END
FROM cdr.cdrs
WHERE started_at > coalesce(%(after)s, '-infinity'::timestamptz)
    AND started_at <= coalesce(%(until)s, 'infinity'::timestamptz)
    AND account = coalesce(%(account)s, account)
    AND (
        (caller_extension_name IS NULL AND caller_extension_code IS NOT NULL)
        OR (answering_extension_name IS NULL AND answering_extension_code IS NOT NULL)
    )
