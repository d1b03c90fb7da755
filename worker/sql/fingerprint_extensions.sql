-- The same as before only while every row is.
SELECT count(*), sum(hash_record_extended(extensions, 0)) FROM cdr.extensions
