-- In the order of the keys' bytes, so that all of one day come together, in pages; a key is account/year/month/day/name.
SELECT
    recording_id, account, call_id, storage_key, bytes, sha256, updated_at,
    updated_at < now() - make_interval(secs => %(settling_seconds)s)
FROM (
    SELECT *, array_to_string((string_to_array(storage_key, '/'))[2:4], '/') AS day
    FROM cdr.recordings
    WHERE status = 'stored'
) AS recording
WHERE (storage_key COLLATE "C", recording_id) > (%(after_key)s::text, %(after_id)s)
  AND (%(account)s::text IS NULL OR account = %(account)s::text)
  AND (%(first_day)s::text IS NULL OR day >= %(first_day)s::text)
  AND (%(last_day)s::text IS NULL OR day <= %(last_day)s::text)
ORDER BY storage_key COLLATE "C", recording_id
LIMIT %(page_size)s
