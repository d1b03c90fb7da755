SELECT EXISTS (SELECT FROM cdr.quarantine WHERE account = %(account)s)
    OR EXISTS (SELECT FROM cdr.cdrs WHERE account = %(account)s)
