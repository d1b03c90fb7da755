-- The first one whose time has come holds: imported names before learned ones, later ones before earlier ones. The time
-- is seconds since the epoch, because -infinity is no time to Python.
SELECT account, extension_code, extract(epoch FROM valid_from)::float8, extension_name
FROM cdr.extensions
ORDER BY account, extension_code, source = 'import' DESC, valid_from DESC
