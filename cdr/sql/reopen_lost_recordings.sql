-- Only those that are as they were when their object was missed, and with them whatever row of their account names the same
-- object, however young. They keep what the object was, so that one that was damaged is not taken for it later. Locked in the order of their ids, as others lock them.
WITH seen AS (
    SELECT DISTINCT ON (recording.account, recording.storage_key) recording.account, recording.storage_key, lost.error
    FROM unnest(%(recording_ids)s::bigint[], %(seen_at)s::timestamptz[], %(errors)s::text[]) AS lost (recording_id, seen_at, error)
    JOIN cdr.recordings AS recording ON recording.recording_id = lost.recording_id
    WHERE recording.status = 'stored'
      AND recording.updated_at = lost.seen_at
    ORDER BY recording.account, recording.storage_key, recording.recording_id
),
locked AS MATERIALIZED (
    SELECT recording.recording_id, seen.error
    FROM seen
    JOIN cdr.recordings AS recording
      ON recording.storage_key COLLATE "C" = seen.storage_key AND recording.account = seen.account
    WHERE recording.status = 'stored'
    ORDER BY recording.recording_id
    FOR UPDATE OF recording
)
UPDATE cdr.recordings AS recording
SET status = 'pending', storage_key = NULL, bytes = NULL, attempts = 0, next_attempt_at = now(),
    pending_since = now(), asked_to_wait_since = NULL, last_error = locked.error, updated_at = now()
FROM locked
WHERE recording.recording_id = locked.recording_id
RETURNING recording.recording_id
