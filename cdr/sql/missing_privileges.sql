-- What the role of this connection may not do, of what the workers, the scheduler and the commands do. A table that a
-- migration has still to make is passed over.
SELECT privilege || ' on ' || needed.relation
FROM (VALUES
    ('cdr.cdrs', '{SELECT,INSERT,UPDATE}'::text[]),
    ('cdr.cdrs_default', '{SELECT}'),
    ('cdr.deliveries', '{SELECT,INSERT}'),
    ('cdr.outbox', '{SELECT,INSERT,UPDATE,DELETE}'),
    ('cdr.calls', '{SELECT,INSERT,UPDATE,DELETE}'),
    ('cdr.call_links', '{SELECT,INSERT,UPDATE,DELETE}'),
    ('cdr.recordings', '{SELECT,INSERT,UPDATE}'),
    ('cdr.quarantine', '{SELECT,INSERT,UPDATE}'),
    ('cdr.extensions', '{SELECT,INSERT,UPDATE}'),
    ('cdr.accounts', '{SELECT}'),
    ('cdr.call_types', '{SELECT}'),
    ('cdr.migrations', '{SELECT}')
) AS needed (relation, privileges), unnest(needed.privileges) AS privilege
WHERE to_regclass(needed.relation) IS NOT NULL AND NOT has_table_privilege(to_regclass(needed.relation), privilege)
UNION ALL
SELECT 'EXECUTE on ' || needed.routine
FROM (VALUES ('cdr.call_key(text, text)'), ('cdr.missing_partitions(integer)')) AS needed (routine)
WHERE to_regprocedure(needed.routine) IS NOT NULL
    AND NOT has_function_privilege(to_regprocedure(needed.routine), 'EXECUTE')
UNION ALL
SELECT 'TEMPORARY on the database' WHERE NOT has_database_privilege(current_database(), 'TEMPORARY')
