-- Calls that were joined to another, or whose CDRs all went to another.
DELETE FROM cdr.calls WHERE call_key = ANY(%(call_keys)s::uuid[])
