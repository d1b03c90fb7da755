-- A row when the outbox holds anything but calls that cannot be folded, which wait for a person.
SELECT FROM cdr.outbox WHERE error IS NULL LIMIT 1
