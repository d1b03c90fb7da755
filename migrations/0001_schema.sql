-- The schema `cdr`: the rows, the calls folded from them, and what the pipeline needs beside.

CREATE SCHEMA IF NOT EXISTS cdr;
COMMENT ON SCHEMA cdr IS 'Call detail records of Voicenter''s cloud, as loaded by the CDR pipeline.';
COMMENT ON TABLE cdr.migrations IS 'The migrations that were applied, with the SHA-256 of each file in hex.';


CREATE TABLE cdr.cdrs (
    identity bytea NOT NULL,
    provider_time timestamp NOT NULL,
    account text NOT NULL,
    call_id text NOT NULL,
    call_key uuid NOT NULL,
    original_call_id text,
    call_type text,
    direction text,
    disposition text,
    outcome text NOT NULL,
    started_at timestamptz NOT NULL,
    time_raw bigint,
    time_rule text NOT NULL,
    talk_seconds integer,
    ring_seconds integer,
    queue_wait_seconds integer,
    duration_seconds integer,
    caller_number text,
    caller_e164 text,
    caller_country_code text,
    caller_country text,
    caller_kind text,
    called_party text,
    called_e164 text,
    called_country_code text,
    called_country text,
    called_kind text,
    did_number text,
    did_e164 text,
    acd_queue_id bigint,
    acd_queue_name text,
    caller_extension_code text,
    caller_extension_name text,
    answering_extension_code text,
    answering_extension_name text,
    agent_code text,
    agent_name text,
    price_agorot numeric,
    recording_url text,
    ivr_path jsonb,
    custom jsonb,
    ai jsonb,
    payload jsonb NOT NULL,
    problems text[] NOT NULL DEFAULT '{}',
    notes text[],
    format text NOT NULL,
    delivery_id uuid NOT NULL,
    delivery_place integer NOT NULL,
    first_received_at timestamptz NOT NULL,
    last_received_at timestamptz NOT NULL,
    delivery_count integer NOT NULL DEFAULT 1,
    loaded_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT cdrs_pkey PRIMARY KEY (identity, provider_time)
) PARTITION BY RANGE (provider_time);

CREATE TABLE cdr.cdrs_default PARTITION OF cdr.cdrs DEFAULT;

CREATE INDEX cdrs_call_key ON cdr.cdrs (call_key);
CREATE INDEX cdrs_started_at ON cdr.cdrs (started_at);
CREATE INDEX cdrs_caller_e164 ON cdr.cdrs (caller_e164) WHERE caller_e164 IS NOT NULL;
CREATE INDEX cdrs_called_e164 ON cdr.cdrs (called_e164) WHERE called_e164 IS NOT NULL;

COMMENT ON TABLE cdr.cdrs IS 'One row a CDR, that is one leg of a call; partitioned by month of provider_time.';
COMMENT ON COLUMN cdr.cdrs.identity IS 'SHA-256 of what makes a CDR the same one: account, call id, type, time as sent, both extensions.';
COMMENT ON COLUMN cdr.cdrs.provider_time IS 'The field time as sent, decoded as if it were UTC; 1970-01-01 when there was none. Part of the identity, so it never changes; for the true time use started_at.';
COMMENT ON COLUMN cdr.cdrs.call_id IS 'The provider''s ivruniqueid; the legs of one call may share it.';
COMMENT ON COLUMN cdr.cdrs.call_key IS 'Half of the SHA-256 of account and call_id: finds the legs of a call by index.';
COMMENT ON COLUMN cdr.cdrs.original_call_id IS 'OriginalivrUniqueID: the call that this one came from.';
COMMENT ON COLUMN cdr.cdrs.call_type IS 'In the specification''s spelling (cdr.call_types); an unknown one as sent.';
COMMENT ON COLUMN cdr.cdrs.disposition IS 'The provider''s status, in its spelling (cdr.dispositions); an unknown one as sent.';
COMMENT ON COLUMN cdr.cdrs.outcome IS 'What became of the call, one word for all the provider''s statuses (cdr.dispositions).';
COMMENT ON COLUMN cdr.cdrs.started_at IS 'The instant at which the call was made, after the clock rule.';
COMMENT ON COLUMN cdr.cdrs.time_raw IS 'The field time as sent, in whole seconds.';
COMMENT ON COLUMN cdr.cdrs.time_rule IS 'How started_at was found: local, utc, assumed_local, assumed_utc, forced_local, forced_utc, id or received.';
COMMENT ON COLUMN cdr.cdrs.talk_seconds IS 'Conversation, in seconds.';
COMMENT ON COLUMN cdr.cdrs.ring_seconds IS 'Ringing, in seconds.';
COMMENT ON COLUMN cdr.cdrs.queue_wait_seconds IS 'Waiting in the ACD queue, in seconds.';
COMMENT ON COLUMN cdr.cdrs.duration_seconds IS 'The field duration as sent, in seconds.';
COMMENT ON COLUMN cdr.cdrs.caller_number IS 'The field caller as sent.';
COMMENT ON COLUMN cdr.cdrs.caller_e164 IS 'The caller''s number in E.164, null when it is no number.';
COMMENT ON COLUMN cdr.cdrs.caller_kind IS 'mobile, fixed, voip, toll_free, shared_cost, premium, short_code, extension, hidden or unknown.';
COMMENT ON COLUMN cdr.cdrs.called_party IS 'The field target as sent: a number or an extension code.';
COMMENT ON COLUMN cdr.cdrs.called_kind IS 'As caller_kind.';
COMMENT ON COLUMN cdr.cdrs.did_number IS 'The number of yours that was called, as sent.';
COMMENT ON COLUMN cdr.cdrs.price_agorot IS 'Price in agorot, hundredths of a shekel.';
COMMENT ON COLUMN cdr.cdrs.ivr_path IS 'The layers of the voice menu in the order in which they were heard.';
COMMENT ON COLUMN cdr.cdrs.custom IS 'CustomData, CUSTOM_DATA and the flat var_ fields, merged.';
COMMENT ON COLUMN cdr.cdrs.ai IS 'aiData: insights, emotions, transcript.';
COMMENT ON COLUMN cdr.cdrs.payload IS 'Every field as sent.';
COMMENT ON COLUMN cdr.cdrs.problems IS 'What was wrong with a value, one line each; that column is null.';
COMMENT ON COLUMN cdr.cdrs.notes IS 'What the decoder had to mend in the text of the first delivery.';
COMMENT ON COLUMN cdr.cdrs.format IS 'The format of the body of the first delivery: json, xmlrpc or form.';
COMMENT ON COLUMN cdr.cdrs.delivery_id IS 'Given at receipt to the delivery that was received first.';
COMMENT ON COLUMN cdr.cdrs.delivery_place IS 'The place of this CDR in the array of that delivery, from 0.';
COMMENT ON COLUMN cdr.cdrs.delivery_count IS 'How often this CDR was received; from the second time on cdr.deliveries holds each.';


CREATE TABLE cdr.deliveries (
    identity bytea NOT NULL,
    provider_time timestamp NOT NULL,
    delivery_id uuid NOT NULL,
    delivery_place integer NOT NULL,
    received_at timestamptz NOT NULL,
    format text NOT NULL,
    fields jsonb NOT NULL,
    notes text[] NOT NULL DEFAULT '{}',
    CONSTRAINT deliveries_pkey PRIMARY KEY (identity, delivery_id, delivery_place)
);
COMMENT ON TABLE cdr.deliveries IS 'Every delivery of a CDR that was received more than once; its row is folded from these.';


CREATE TABLE cdr.calls (
    call_key uuid NOT NULL,
    account text NOT NULL,
    call_id text NOT NULL,
    call_ids text[] NOT NULL,
    started_at timestamptz NOT NULL,
    ended_at timestamptz NOT NULL,
    direction text,
    caller_number text,
    caller_e164 text,
    caller_country_code text,
    called_party text,
    called_e164 text,
    called_country_code text,
    did_number text,
    acd_queue_name text,
    agent_code text,
    agent_name text,
    outcome text NOT NULL,
    queue_wait_seconds integer,
    ring_seconds integer,
    talk_seconds bigint,
    price_agorot numeric,
    leg_count integer NOT NULL,
    recording_count integer NOT NULL,
    last_received_at timestamptz NOT NULL,
    first_provider_time timestamp NOT NULL,
    last_provider_time timestamp NOT NULL,
    CONSTRAINT calls_pkey PRIMARY KEY (call_key)
);
CREATE INDEX calls_started_at ON cdr.calls (started_at);
CREATE INDEX calls_caller_e164 ON cdr.calls (caller_e164) WHERE caller_e164 IS NOT NULL;
CREATE INDEX calls_called_e164 ON cdr.calls (called_e164) WHERE called_e164 IS NOT NULL;

COMMENT ON TABLE cdr.calls IS 'One row a call: its legs folded, and every call that came from it by OriginalivrUniqueID.';
COMMENT ON COLUMN cdr.calls.call_key IS 'Half of the SHA-256 of account and call_id.';
COMMENT ON COLUMN cdr.calls.call_id IS 'The id of the first call of the chain, whether or not a CDR of its own came.';
COMMENT ON COLUMN cdr.calls.call_ids IS 'The ids of all CDRs of the chain.';
COMMENT ON COLUMN cdr.calls.started_at IS 'Of the leg that began first; legs are ordered by it.';
COMMENT ON COLUMN cdr.calls.direction IS 'Of the first leg that has one.';
COMMENT ON COLUMN cdr.calls.caller_number IS 'Of the first leg that has one, and so the other caller columns.';
COMMENT ON COLUMN cdr.calls.called_party IS 'Of the first leg that has one and counts (not a leg 1 that has its leg 2), and so the other called columns.';
COMMENT ON COLUMN cdr.calls.did_number IS 'Of the first leg that has one.';
COMMENT ON COLUMN cdr.calls.acd_queue_name IS 'Of the first leg that has one.';
COMMENT ON COLUMN cdr.calls.agent_code IS 'Of the last leg that has an agent, and so agent_name.';
COMMENT ON COLUMN cdr.calls.price_agorot IS 'Summed over all legs, in agorot.';
COMMENT ON COLUMN cdr.calls.recording_count IS 'How many different recording addresses its legs carry.';
COMMENT ON COLUMN cdr.calls.last_received_at IS 'When the last delivery of any of its legs was received.';
COMMENT ON COLUMN cdr.calls.ended_at IS 'The latest end of a leg: its start, wait, ringing and conversation.';
COMMENT ON COLUMN cdr.calls.outcome IS 'Of the legs that count (not a leg 1 that has its leg 2): answered if one was, else the last one''s.';
COMMENT ON COLUMN cdr.calls.queue_wait_seconds IS 'Of the first leg that has one.';
COMMENT ON COLUMN cdr.calls.ring_seconds IS 'Of the first leg that has one.';
COMMENT ON COLUMN cdr.calls.talk_seconds IS 'Summed over the legs that count.';
COMMENT ON COLUMN cdr.calls.first_provider_time IS 'The least provider_time of its CDRs: bounds the partitions that hold them.';
COMMENT ON COLUMN cdr.calls.last_provider_time IS 'The greatest provider_time of its CDRs.';


CREATE TABLE cdr.call_links (
    call_key uuid NOT NULL,
    account text NOT NULL,
    call_id text NOT NULL,
    original_call_key uuid NOT NULL,
    original_call_id text NOT NULL,
    root_key uuid NOT NULL,
    CONSTRAINT call_links_pkey PRIMARY KEY (call_key)
);
CREATE INDEX call_links_root_key ON cdr.call_links (root_key);
COMMENT ON TABLE cdr.call_links IS 'Calls that name an original call: the steps of a chain, and under which call each was folded last.';


CREATE TABLE cdr.outbox (
    outbox_id bigint GENERATED ALWAYS AS IDENTITY,
    kind text NOT NULL,
    call_keys uuid[],
    provider_times timestamp[],
    recording_ids bigint[],
    error text,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT outbox_pkey PRIMARY KEY (outbox_id),
    CONSTRAINT outbox_kind CHECK (kind IN ('calls', 'recordings'))
);
COMMENT ON TABLE cdr.outbox IS 'What has to happen once rows stand, noted by the transaction that loaded them: calls to fold, recordings to fetch.';
COMMENT ON COLUMN cdr.outbox.error IS 'Why the database refused the row of this one call; null: waits to be done. Set it to null to have it tried again.';


CREATE TABLE cdr.recordings (
    recording_id bigint GENERATED ALWAYS AS IDENTITY,
    identity bytea NOT NULL,
    provider_time timestamp NOT NULL,
    account text NOT NULL,
    call_id text NOT NULL,
    call_type text,
    started_at timestamptz NOT NULL,
    source_url text NOT NULL,
    source_key bytea NOT NULL,
    status text NOT NULL DEFAULT 'pending',
    storage_key text,
    bytes bigint,
    sha256 bytea,
    seconds numeric,
    content_type text,
    attempts integer NOT NULL DEFAULT 0,
    next_attempt_at timestamptz,
    last_error text,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT recordings_pkey PRIMARY KEY (recording_id),
    CONSTRAINT recordings_source UNIQUE (identity, source_key),
    CONSTRAINT recordings_status CHECK (status IN ('pending', 'stored', 'gone', 'refused', 'failed'))
);
CREATE INDEX recordings_status ON cdr.recordings (status, recording_id) WHERE status <> 'stored';
COMMENT ON TABLE cdr.recordings IS 'One row a CDR and recording address, and what became of the fetch.';
COMMENT ON COLUMN cdr.recordings.source_key IS 'SHA-256 of source_url.';
COMMENT ON COLUMN cdr.recordings.status IS 'pending: to be fetched; stored: in the store; gone: never came or is no audio; refused: may not be fetched; failed: an error of ours.';
COMMENT ON COLUMN cdr.recordings.storage_key IS 'Its path in the recording store.';
COMMENT ON COLUMN cdr.recordings.seconds IS 'Length of the audio, null until it is read.';


CREATE TABLE cdr.quarantine (
    quarantine_id bigint GENERATED ALWAYS AS IDENTITY,
    received_at timestamptz NOT NULL,
    last_received_at timestamptz NOT NULL,
    received_count integer NOT NULL DEFAULT 1,
    account text NOT NULL,
    format text NOT NULL,
    reason text NOT NULL,
    error text NOT NULL,
    headers jsonb NOT NULL DEFAULT '{}',
    body bytea NOT NULL,
    sha256 bytea NOT NULL,
    status text NOT NULL DEFAULT 'kept',
    status_changed_at timestamptz,
    CONSTRAINT quarantine_pkey PRIMARY KEY (quarantine_id),
    CONSTRAINT quarantine_body UNIQUE (account, sha256),
    CONSTRAINT quarantine_status CHECK (status IN ('kept', 'replayed', 'discarded'))
);
CREATE INDEX quarantine_received_at ON cdr.quarantine (received_at);
COMMENT ON TABLE cdr.quarantine IS 'Bodies that were not taken as a CDR, kept as received; the same body again counts up.';
COMMENT ON COLUMN cdr.quarantine.received_at IS 'When it came first.';
COMMENT ON COLUMN cdr.quarantine.reason IS 'The code of the error: unreadable or not_a_cdr.';
COMMENT ON COLUMN cdr.quarantine.headers IS 'The request''s headers, secrets removed.';
COMMENT ON COLUMN cdr.quarantine.body IS 'The bytes that the parser saw.';
COMMENT ON COLUMN cdr.quarantine.sha256 IS 'SHA-256 of body.';
COMMENT ON COLUMN cdr.quarantine.status IS 'kept, replayed (a later decoder took it) or discarded.';


CREATE TABLE cdr.accounts (
    account text NOT NULL,
    time_zone text,
    time_rule text,
    time_fallback text,
    default_region text,
    duration_includes_wait boolean,
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT accounts_pkey PRIMARY KEY (account),
    CONSTRAINT accounts_time_rule CHECK (time_rule IN ('auto', 'local', 'utc')),
    CONSTRAINT accounts_time_fallback CHECK (time_fallback IN ('local', 'utc'))
);
COMMENT ON TABLE cdr.accounts IS 'What is special to an account; null means the default of the environment.';


CREATE TABLE cdr.extensions (
    account text NOT NULL,
    extension_code text NOT NULL,
    extension_name text NOT NULL,
    source text NOT NULL,
    valid_from timestamptz NOT NULL DEFAULT '-infinity',
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT extensions_pkey PRIMARY KEY (account, extension_code, source, valid_from),
    CONSTRAINT extensions_source CHECK (source IN ('import', 'learned'))
);
COMMENT ON TABLE cdr.extensions IS 'The extension directory: names by extension code, each from a day on; imported names win over learned ones.';
COMMENT ON COLUMN cdr.extensions.extension_code IS 'The SIP code, such as AAPINFzL.';
COMMENT ON COLUMN cdr.extensions.valid_from IS 'From when the name holds; -infinity for always.';


CREATE TABLE cdr.call_types (
    call_type text NOT NULL,
    numeric_ids integer[],
    direction text,
    leg smallint,
    leg_family text,
    description text NOT NULL,
    CONSTRAINT call_types_pkey PRIMARY KEY (call_type)
);
COMMENT ON TABLE cdr.call_types IS 'Every call type of the specification, with its meaning.';
COMMENT ON COLUMN cdr.call_types.numeric_ids IS 'The numbers that the provider''s call log uses for it.';
COMMENT ON COLUMN cdr.call_types.direction IS 'Taken when the CDR does not say; null: the call takes its root''s.';
COMMENT ON COLUMN cdr.call_types.leg IS '1 or 2 for the legs of a dialled pair.';
COMMENT ON COLUMN cdr.call_types.leg_family IS 'Legs 1 and 2 of one family belong together.';

CREATE TABLE cdr.dispositions (
    disposition text NOT NULL,
    outcome text NOT NULL,
    description text NOT NULL,
    CONSTRAINT dispositions_pkey PRIMARY KEY (disposition)
);
COMMENT ON TABLE cdr.dispositions IS 'Every status of the specification and of later documents, with its meaning and outcome.';

CREATE TABLE cdr.countries (
    code text NOT NULL,
    name_en text NOT NULL,
    name_he text NOT NULL,
    CONSTRAINT countries_pkey PRIMARY KEY (code)
);
COMMENT ON TABLE cdr.countries IS 'Countries by ISO 3166 code, with their names in English and Hebrew.';


CREATE VIEW cdr.voicenter_cdr AS
SELECT
    caller_number AS caller,
    called_party AS target,
    time_raw AS time,
    duration_seconds AS duration,
    call_id AS ivruniqueid,
    call_type AS type,
    disposition AS status,
    answering_extension_code AS targetextension,
    caller_extension_code AS callerextension,
    did_number AS did,
    coalesce(acd_queue_id, 0) AS queueid,
    acd_queue_name AS queuename,
    recording_url AS record,
    price_agorot AS price,
    CASE WHEN payload ->> 'dialtime' ~ '^[0-9]{1,9}$' THEN (payload ->> 'dialtime')::integer ELSE ring_seconds END AS dialtime,
    coalesce(nullif(btrim(payload ->> 'representative_name'), ''), agent_name) AS representative_name,
    agent_code AS representative_code,
    answering_extension_name AS targetextension_name,
    caller_extension_name AS callerextension_name,
    coalesce(nullif(payload ->> 'target_country', ''), called_country) AS target_country,
    coalesce(nullif(payload ->> 'caller_country', ''), caller_country) AS caller_country,
    queue_wait_seconds AS seconds_waiting_in_queue,
    original_call_id AS originalivruniqueid
FROM cdr.cdrs;
COMMENT ON VIEW cdr.voicenter_cdr IS 'The rows of cdr.cdrs under the 23 names of the provider''s specification.';


-- Makes the partition of one month, moving in what the default partition holds of it. Runs in the caller's
-- transaction; doing nothing when the partition is there.
CREATE FUNCTION cdr.make_partition(month date) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    lower_bound timestamp := date_trunc('month', month);
    upper_bound timestamp := date_trunc('month', month) + interval '1 month';
    partition text := 'cdrs_' || to_char(month, 'YYYY_MM');
BEGIN
    -- Loaders wait here for the moment that the move takes: a row that came in between would make ATTACH fail.
    LOCK TABLE cdr.cdrs IN SHARE ROW EXCLUSIVE MODE;
    IF to_regclass('cdr.' || partition) IS NOT NULL THEN
        RETURN false;
    END IF;
    EXECUTE format('CREATE TABLE cdr.%I (LIKE cdr.cdrs INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING INDEXES)', partition);
    EXECUTE format(
        'WITH moved AS (DELETE FROM cdr.cdrs_default WHERE provider_time >= %L AND provider_time < %L RETURNING *) '
        'INSERT INTO cdr.%I SELECT * FROM moved', lower_bound, upper_bound, partition);
    EXECUTE format('ALTER TABLE cdr.cdrs ATTACH PARTITION cdr.%I FOR VALUES FROM (%L) TO (%L)', partition, lower_bound, upper_bound);
    RETURN true;
END $$;
COMMENT ON FUNCTION cdr.make_partition IS 'Makes the partition of one month, moving in what the default partition holds of it.';

-- The months around now and those of which the default partition holds rows, as far as they have no partition yet. A
-- time that is years off stays in the default partition, so that a wrong clock cannot make partitions without end.
CREATE FUNCTION cdr.missing_partitions(months_ahead integer DEFAULT 6) RETURNS SETOF date LANGUAGE sql STABLE AS $$
    SELECT month FROM (
        SELECT generate_series(date_trunc('month', now()) - interval '1 month',
                               date_trunc('month', now()) + make_interval(months => months_ahead), '1 month')::date
        UNION
        SELECT date_trunc('month', provider_time)::date FROM cdr.cdrs_default
        WHERE provider_time BETWEEN now() - interval '10 years' AND now() + interval '1 year'
    ) AS wanted (month)
    WHERE to_regclass('cdr.cdrs_' || to_char(month, 'YYYY_MM')) IS NULL
    ORDER BY month
$$;
COMMENT ON FUNCTION cdr.missing_partitions IS 'The months that cdr.make_partition should be called for: those ahead and those the default partition holds rows of.';

-- The key of a call id, as the worker computes it (common/identity.py): each part after its own length, so that
-- ("ab", "c") and ("a", "bc") differ.
CREATE FUNCTION cdr.call_key(account text, call_id text) RETURNS uuid LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
    SELECT encode(substr(sha256(convert_to(
        length(account) || ':' || account || length(call_id) || ':' || call_id, 'UTF8')), 1, 16), 'hex')::uuid
$$;
COMMENT ON FUNCTION cdr.call_key IS 'The call_key of a call id: finds its rows in cdr.cdrs and cdr.calls by index.';
