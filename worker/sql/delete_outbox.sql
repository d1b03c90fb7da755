DELETE FROM cdr.outbox WHERE outbox_id = ANY(%(outbox_ids)s)
