-- After which id all recordings there are come, and the last of them.
SELECT 0, coalesce(max(recording_id), 0) FROM cdr.recordings
