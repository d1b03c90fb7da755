INSERT INTO cdr.audit (actor, command, selection)
VALUES (%(actor)s, %(command)s, %(selection)s::jsonb)
RETURNING audit_id
