-- What searches by a call id and by a day go by where there was only the whole table to read: the view cdr.voicenter_cdr has no
-- call_key and no started_at. Both kinds are cheap to keep: a hash index takes 4 bytes of an id of any length, a BRIN index a line
-- for each MB, because rows come about in the order of their time. Workers wait while they are built, and receivers do not.

CREATE INDEX cdrs_call_id ON cdr.cdrs USING hash (call_id);
CREATE INDEX cdrs_time_raw ON cdr.cdrs USING brin (time_raw) WITH (autosummarize = on);

CREATE INDEX recordings_call_id ON cdr.recordings USING hash (call_id);
CREATE INDEX recordings_started_at ON cdr.recordings USING brin (started_at) WITH (autosummarize = on);

-- `cdr status` counts the bodies that wait for a person, and `cdr quarantine list` pages through them, past those that are done with.
CREATE INDEX quarantine_kept ON cdr.quarantine (quarantine_id) WHERE status = 'kept';
