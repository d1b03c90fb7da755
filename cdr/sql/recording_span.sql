-- Between which ids the recordings of calls of a time lie; nulls are no bound. The sums keep PostgreSQL from looking for the
-- least and the greatest along the ids themselves, past all recordings of other times.
SELECT coalesce(min(recording_id + 0) - 1, 0), coalesce(max(recording_id + 0), 0)
FROM cdr.recordings
WHERE (%(since)s::timestamptz IS NULL OR started_at >= %(since)s::timestamptz)
  AND (%(until)s::timestamptz IS NULL OR started_at <= %(until)s::timestamptz)
