UPDATE cdr.quarantine
SET status = %(status)s, status_changed_at = now()
WHERE quarantine_id = ANY(%(ids)s) AND status = 'kept'
