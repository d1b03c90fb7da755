-- The recordings of these CDRs, locked in the order of their ids until the transaction ends.
SELECT recording_id FROM cdr.recordings
WHERE (identity, provider_time) IN (
    SELECT * FROM unnest(%(identities)s::bytea[], %(provider_times)s::timestamp[])
)
ORDER BY recording_id
FOR NO KEY UPDATE
