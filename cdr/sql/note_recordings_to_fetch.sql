-- The scheduler makes a job of each entry.
INSERT INTO cdr.outbox (kind, recording_ids)
SELECT 'recordings', array_agg(recording_id ORDER BY place)
FROM unnest(%(recording_ids)s::bigint[]) WITH ORDINALITY AS noted (recording_id, place)
GROUP BY (place - 1) / %(a_job)s::bigint
