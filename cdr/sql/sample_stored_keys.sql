-- The first and the last keys of a span, of rows that have said for a while that something is stored.
WITH recording AS NOT MATERIALIZED (
    SELECT storage_key
    FROM (
        SELECT *, array_to_string((string_to_array(storage_key, '/'))[2:4], '/') AS day
        FROM cdr.recordings
        WHERE status = 'stored'
    ) AS stored
    WHERE (%(account)s::text IS NULL OR account = %(account)s::text)
      AND (%(first_day)s::text IS NULL OR day >= %(first_day)s::text)
      AND (%(last_day)s::text IS NULL OR day <= %(last_day)s::text)
      AND updated_at < now() - make_interval(secs => %(settling_seconds)s)
)
(SELECT storage_key FROM recording ORDER BY storage_key COLLATE "C" LIMIT %(each_end)s)
UNION
(SELECT storage_key FROM recording ORDER BY storage_key COLLATE "C" DESC LIMIT %(each_end)s)
