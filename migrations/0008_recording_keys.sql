-- `cdr recordings verify` walks through the rows in the order of the store's keys, page by page.

CREATE INDEX recordings_storage_key ON cdr.recordings (storage_key COLLATE "C", recording_id) WHERE status = 'stored';
