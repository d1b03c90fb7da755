-- How many rows the default partition holds, counted up to 10,000, and how many of them belong into a month's.
SELECT count(*), count(*) FILTER (WHERE provider_time BETWEEN now() - interval '10 years' AND now() + interval '1 year')
FROM (SELECT provider_time FROM cdr.cdrs_default LIMIT 10000) AS resting
