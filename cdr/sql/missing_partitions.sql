-- Which of this and the next month have no partition.
SELECT 'cdrs_' || to_char(month, 'YYYY_MM')
FROM generate_series(
    date_trunc('month', now() AT TIME ZONE 'UTC'),
    date_trunc('month', now() AT TIME ZONE 'UTC') + interval '1 month',
    '1 month'
) AS month
WHERE NOT EXISTS (
    SELECT FROM pg_inherits
    WHERE inhparent = 'cdr.cdrs'::regclass AND inhrelid = to_regclass('cdr.cdrs_' || to_char(month, 'YYYY_MM'))
)
ORDER BY month
