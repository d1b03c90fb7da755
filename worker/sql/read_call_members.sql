-- The linked calls that were folded last under one of these.
SELECT call_key::text FROM cdr.call_links WHERE root_key = ANY(%(root_keys)s::uuid[])
