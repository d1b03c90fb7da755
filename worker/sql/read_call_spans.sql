-- Between which provider_times the CDRs of these calls lie, as folded last.
SELECT min(first_provider_time), max(last_provider_time)
FROM cdr.calls WHERE call_key = ANY(%(call_keys)s::uuid[])
