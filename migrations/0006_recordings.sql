-- What a stored recording holds, and what finds a recording that nobody sees to any more. The release before writes none of it.

ALTER TABLE cdr.recordings ADD COLUMN codec text;
ALTER TABLE cdr.recordings ADD COLUMN problem text;
ALTER TABLE cdr.recordings ADD COLUMN pending_since timestamptz NOT NULL DEFAULT now();
ALTER TABLE cdr.recordings ADD COLUMN requeued_at timestamptz;
COMMENT ON COLUMN cdr.recordings.codec IS 'How its audio is coded, such as mp3, pcm, alaw, mulaw, gsm, opus, vorbis, aac; null when it cannot be told.';
COMMENT ON COLUMN cdr.recordings.problem IS 'What is odd about the audio: it is cut off, or lasts much longer or shorter than the call talked.';
COMMENT ON COLUMN cdr.recordings.pending_since IS 'Since when it is to be fetched: its first notice, or when a person last asked for it again. A host may ask to wait for so long.';
COMMENT ON COLUMN cdr.recordings.requeued_at IS 'When it was last found overdue and in no queue, and queued again; null: never.';
COMMENT ON COLUMN cdr.recordings.attempts IS 'How often its host was asked and had nothing, or the last time something; what the host or we put off is not counted.';
COMMENT ON COLUMN cdr.recordings.next_attempt_at IS 'When a pending recording is due again; null: at once.';

-- Legs of a call share a recording: what is there already is not fetched again.
CREATE INDEX recordings_stored_source ON cdr.recordings (source_key, account) WHERE status = 'stored';
-- Pending recordings by when they were due or were queued again, whichever came last.
CREATE INDEX recordings_due ON cdr.recordings ((greatest(coalesce(next_attempt_at, created_at), requeued_at)))
    WHERE status = 'pending';
