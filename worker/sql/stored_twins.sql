-- Of each recording that is pending, one that came from the same address for the same account and is stored.
SELECT DISTINCT ON (recording.recording_id)
    recording.recording_id, twin.storage_key, twin.bytes, twin.sha256, twin.content_type, twin.seconds::float8, twin.codec, twin.problem
FROM cdr.recordings AS recording
JOIN cdr.recordings AS twin
  ON twin.source_key = recording.source_key AND twin.account = recording.account AND twin.status = 'stored'
WHERE recording.recording_id = ANY(%(recording_ids)s)
  AND recording.status = 'pending'
ORDER BY recording.recording_id, twin.recording_id
