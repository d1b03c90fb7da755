-- Only those that are as they were when their object was missed.
UPDATE cdr.recordings AS recording
SET status = 'pending', storage_key = NULL, bytes = NULL, sha256 = NULL, attempts = 0, next_attempt_at = now(),
    pending_since = now(), asked_to_wait_since = NULL, last_error = lost.error, updated_at = now()
FROM unnest(%(recording_ids)s::bigint[], %(seen_at)s::timestamptz[], %(errors)s::text[]) AS lost (recording_id, seen_at, error)
WHERE recording.recording_id = lost.recording_id
  AND recording.status = 'stored'
  AND recording.updated_at = lost.seen_at
RETURNING recording.recording_id
