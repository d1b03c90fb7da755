SELECT account, extension_code, source = 'import', extract(epoch FROM valid_from)::float8, extension_name
FROM cdr.extensions
WHERE updated_at >= now() - make_interval(secs => %(seconds)s)
