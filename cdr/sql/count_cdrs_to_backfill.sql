SELECT count(*) FROM cdr.cdrs
WHERE started_at > coalesce(%(after)s, '-infinity'::timestamptz)
    AND started_at <= coalesce(%(until)s, 'infinity'::timestamptz)
