-- How many rows the default partition holds, counted up to 10,000, how many of them belong into a month's, and for how many
-- seconds the oldest of these has been there.
SELECT
    count(*),
    count(*) FILTER (WHERE belongs_elsewhere),
    extract(epoch FROM now() - min(loaded_at) FILTER (WHERE belongs_elsewhere))::float8
FROM (
    SELECT loaded_at, provider_time BETWEEN now() - interval '10 years' AND now() + interval '1 year' AS belongs_elsewhere
    FROM cdr.cdrs_default LIMIT 10000
) AS resting
