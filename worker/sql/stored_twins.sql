-- Of each recording that is pending, one that came from the same address for the same account and is stored. Which one makes no
-- difference, so the first that the index gives is taken: an address may have any number of them.
SELECT
    recording.recording_id, twin.storage_key, twin.bytes, twin.sha256, twin.content_type, twin.seconds::float8, twin.codec, twin.problem
FROM cdr.recordings AS recording
CROSS JOIN LATERAL (
    SELECT * FROM cdr.recordings AS stored
    WHERE stored.source_key = recording.source_key AND stored.account = recording.account AND stored.status = 'stored'
    LIMIT 1
) AS twin
WHERE recording.recording_id = ANY(%(recording_ids)s)
  AND recording.status = 'pending'
ORDER BY recording.recording_id
