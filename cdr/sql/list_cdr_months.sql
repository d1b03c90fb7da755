-- The months that have a partition of their own.
SELECT to_date(right(relname, 7), 'YYYY_MM')::timestamp
FROM pg_inherits
JOIN pg_class ON pg_class.oid = inhrelid
WHERE inhparent = 'cdr.cdrs'::regclass AND relname ~ '^cdrs_[0-9]{4}_[0-9]{2}$'
ORDER BY relname
