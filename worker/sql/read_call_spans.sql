-- Between which provider_times the CDRs of each of these rows lie, as folded last.
SELECT call_key::text, first_provider_time, last_provider_time
FROM cdr.calls WHERE call_key = ANY(%(rows)s::uuid[])
