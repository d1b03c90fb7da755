SELECT coalesce(max(recording_id), 0) FROM cdr.recordings
