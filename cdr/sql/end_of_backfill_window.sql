-- When the call began that is so many rows further on; no row: what is left is less than that.
SELECT started_at FROM cdr.cdrs
WHERE started_at > coalesce(%(after)s, '-infinity'::timestamptz)
    AND started_at <= coalesce(%(until)s, 'infinity'::timestamptz)
ORDER BY started_at OFFSET %(rows)s - 1 LIMIT 1
