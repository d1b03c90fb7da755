UPDATE cdr.audit
SET finished_at = now(), affected = %(affected)s
WHERE audit_id = %(audit_id)s
