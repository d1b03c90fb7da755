-- The recordings of these CDRs, locked in the order of their ids until the transaction ends.
SELECT recording_id FROM cdr.recordings
WHERE identity = ANY(%(identities)s::bytea[])
ORDER BY recording_id
FOR NO KEY UPDATE
