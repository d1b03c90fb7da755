-- Rows of now go wherever a page has room for one, so that after a while a BRIN index has a row of now in each range of pages, and
-- a search by day reads nearly all. An ordered index of times costs some 20 bytes a recording, at its end only. It takes about a second a
-- million recordings; workers wait meanwhile, and receivers do not.
DROP INDEX cdr.recordings_started_at;
CREATE INDEX recordings_started_at ON cdr.recordings (started_at);
