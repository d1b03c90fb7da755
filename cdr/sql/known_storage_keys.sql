SELECT storage_key FROM cdr.recordings WHERE status = 'stored' AND storage_key COLLATE "C" = ANY(%(keys)s)
