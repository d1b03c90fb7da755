-- Since when a recording's own host has asked to wait for it. The release before writes nothing here, and reads pending_since.

ALTER TABLE cdr.recordings ADD COLUMN asked_to_wait_since timestamptz;
COMMENT ON COLUMN cdr.recordings.asked_to_wait_since IS 'When its host, asked for this very recording, first said to wait, and has said nothing else since; null: it said something else last, or was not asked yet. It may say so for seven days.';
COMMENT ON COLUMN cdr.recordings.pending_since IS 'Since when it is to be fetched: its first notice, or when a person last asked for it again.';
