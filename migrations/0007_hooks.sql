-- Notes in the outbox which CDRs a transaction loaded or changed, for the functions of the user's own (CDR_HOOKS).
-- The release before writes none of these columns, and leaves entries of the new kind alone.

ALTER TABLE cdr.outbox ADD COLUMN identities bytea[];
ALTER TABLE cdr.outbox ADD COLUMN call_ids text[];
ALTER TABLE cdr.outbox ADD COLUMN hooks text[];
ALTER TABLE cdr.outbox ADD COLUMN is_update boolean;
ALTER TABLE cdr.outbox ADD COLUMN job_count integer;
ALTER TABLE cdr.outbox
    DROP CONSTRAINT outbox_kind,
    ADD CONSTRAINT outbox_kind CHECK (kind IN ('calls', 'recordings', 'hooks'));
COMMENT ON TABLE cdr.outbox IS 'What has to happen once rows stand, noted by the transaction that loaded them: calls to fold, recordings to fetch, hooks to call.';
COMMENT ON COLUMN cdr.outbox.identities IS 'The CDRs that hooks are called with, each with the provider_time and the call id at its place.';
COMMENT ON COLUMN cdr.outbox.hooks IS 'The CDR_HOOKS of the worker that loaded these CDRs.';
COMMENT ON COLUMN cdr.outbox.is_update IS 'Whether a later delivery changed these rows; false: they are new.';
COMMENT ON COLUMN cdr.outbox.job_count IS 'How many jobs the entry makes: one for each of its CDRs and hooks.';
