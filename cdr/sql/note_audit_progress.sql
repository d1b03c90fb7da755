UPDATE cdr.audit
SET affected = %(affected)s
WHERE audit_id = %(audit_id)s
