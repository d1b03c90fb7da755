-- Of the newest recordings that were refused or failed: how many of the last day, and what was said of one.
SELECT count(*), min(last_error)
FROM (
    SELECT last_error, updated_at FROM cdr.recordings
    WHERE status IN ('refused', 'failed')
    ORDER BY recording_id DESC LIMIT 10000
) AS newest
WHERE updated_at > now() - interval '1 day'
