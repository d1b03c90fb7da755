-- Who replayed or discarded what with the command line: the one kind of change to the data that a person makes.

CREATE TABLE cdr.audit (
    audit_id bigint GENERATED ALWAYS AS IDENTITY,
    actor text NOT NULL,
    command text NOT NULL,
    selection jsonb NOT NULL,
    started_at timestamptz NOT NULL DEFAULT now(),
    finished_at timestamptz,
    affected bigint,
    CONSTRAINT audit_pkey PRIMARY KEY (audit_id)
);
COMMENT ON TABLE cdr.audit IS 'Who replayed or discarded failed jobs or quarantined bodies, when, which, and how many.';
COMMENT ON COLUMN cdr.audit.actor IS 'The user of the operating system, and the host.';
COMMENT ON COLUMN cdr.audit.command IS 'Such as failed replay.';
COMMENT ON COLUMN cdr.audit.selection IS 'The filter, by the names of its options; empty for all.';
COMMENT ON COLUMN cdr.audit.finished_at IS 'Null while it runs, and for ever when it was killed or PostgreSQL was away at its end.';
COMMENT ON COLUMN cdr.audit.affected IS 'How many jobs or bodies were replayed or discarded, also when it was interrupted.';
