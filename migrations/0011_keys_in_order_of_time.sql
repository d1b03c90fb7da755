-- Keys begin with a time, so that the rows of now lie side by side in every index. A key that is a hash alone sends each new row
-- to another page: of 10 million CDRs none of these pages was in memory, and each went into the write-ahead log as a whole.
-- The call_key of an id that begins with a date, as the provider's do, begins with that date. All rows get their new keys
-- here, which takes two or three minutes for each million CDRs and as much room again as they have; workers wait meanwhile,
-- receivers do not. A worker of the release before would load CDRs under the old keys: end them first.

CREATE OR REPLACE FUNCTION cdr.call_key(account text, call_id text) RETURNS uuid LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
    SELECT CASE
        WHEN call_id ~ '^[0-9]{14}' THEN (lpad(to_hex(substr(call_id, 1, 14)::bigint), 12, '0') || encode(substr(sha256(convert_to(
            length(account) || ':' || account || length(call_id) || ':' || call_id, 'UTF8')), 1, 10), 'hex'))::uuid
        ELSE encode(substr(sha256(convert_to(
            length(account) || ':' || account || length(call_id) || ':' || call_id, 'UTF8')), 1, 16), 'hex')::uuid
    END
$$;
COMMENT ON COLUMN cdr.cdrs.call_key IS 'Stands for account and call_id: the date that the id begins with, then a part of the SHA-256 of both. Finds the legs of a call by index.';
COMMENT ON COLUMN cdr.calls.call_key IS 'Stands for account and call_id, as in cdr.cdrs.';

-- What waits to be folded, and which rows the steps of chains were folded under, is known by the old keys.
CREATE TEMPORARY TABLE key_of_now ON COMMIT DROP AS
SELECT call_key AS before, min(cdr.call_key(account, call_id)::text)::uuid AS after FROM cdr.cdrs
WHERE call_key IN (SELECT unnest(call_keys) FROM cdr.outbox WHERE kind = 'calls')
GROUP BY call_key;
UPDATE cdr.outbox SET call_keys = ARRAY(
    SELECT coalesce(key_of_now.after, noted.call_key)
    FROM unnest(call_keys) WITH ORDINALITY AS noted (call_key, place)
    LEFT JOIN key_of_now ON key_of_now.before = noted.call_key
    ORDER BY noted.place
)
WHERE kind = 'calls';

UPDATE cdr.call_links AS known SET root_key = cdr.call_key(root.account, root.call_id)
FROM cdr.calls AS root WHERE root.call_key = known.root_key AND known.root_key <> known.call_key;
UPDATE cdr.call_links SET
    root_key = CASE WHEN root_key = call_key THEN cdr.call_key(account, call_id) ELSE root_key END,
    call_key = cdr.call_key(account, call_id),
    original_call_key = cdr.call_key(account, original_call_id);

ALTER TABLE cdr.calls DROP CONSTRAINT calls_pkey;
UPDATE cdr.calls SET call_key = cdr.call_key(account, call_id) WHERE call_id ~ '^[0-9]{14}';
ALTER TABLE cdr.calls ADD CONSTRAINT calls_pkey PRIMARY KEY (call_key);

DROP INDEX cdr.cdrs_call_key;
UPDATE cdr.cdrs SET call_key = cdr.call_key(account, call_id) WHERE call_id ~ '^[0-9]{14}';
CREATE INDEX cdrs_call_key ON cdr.cdrs (call_key);

ALTER TABLE cdr.recordings
    DROP CONSTRAINT recordings_source,
    ADD CONSTRAINT recordings_source UNIQUE (provider_time, identity, source_key);
DROP INDEX cdr.recordings_call_id;
CREATE INDEX recordings_call_id ON cdr.recordings (call_id);
