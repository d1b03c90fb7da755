UPDATE cdr.call_links AS known SET root_key = folded.root_key
FROM unnest(%(call_keys)s::uuid[], %(root_keys)s::uuid[]) AS folded (call_key, root_key)
WHERE known.call_key = folded.call_key AND known.root_key <> folded.root_key
