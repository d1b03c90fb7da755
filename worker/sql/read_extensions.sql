-- Times are seconds since the epoch, because -infinity is no time to Python.
SELECT account, extension_code, source = 'import', extract(epoch FROM valid_from)::float8, extension_name
FROM cdr.extensions
