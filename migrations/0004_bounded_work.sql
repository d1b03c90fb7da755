-- What keeps work bounded: deliveries that make no difference any more, and calls whose fold waits for a better time.
-- The release before writes neither: its rows take the defaults, and it folds what waits a little early.

ALTER TABLE cdr.deliveries ADD COLUMN superseded boolean NOT NULL DEFAULT false;
CREATE INDEX deliveries_counting ON cdr.deliveries (identity) WHERE NOT superseded;
COMMENT ON COLUMN cdr.deliveries.superseded IS 'Whether it can make no difference to its row any more: it is counted, but not read again.';

ALTER TABLE cdr.outbox ADD COLUMN tries integer NOT NULL DEFAULT 0;
ALTER TABLE cdr.outbox ADD COLUMN retry_at timestamptz;
CREATE INDEX outbox_retry_at ON cdr.outbox (retry_at) WHERE retry_at IS NOT NULL;
COMMENT ON COLUMN cdr.outbox.tries IS 'How often the fold of this one call failed by a time-out or a lock.';
COMMENT ON COLUMN cdr.outbox.retry_at IS 'When the fold of these calls is tried again; null: at once, or never if error says why.';
