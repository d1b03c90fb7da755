INSERT INTO cdr.accounts AS known
    (account, time_zone, time_rule, time_fallback, default_region, duration_includes_wait)
VALUES
    (%(account)s, %(time_zone)s, %(time_rule)s, %(time_fallback)s, %(default_region)s, %(duration_includes_wait)s)
ON CONFLICT (account) DO UPDATE SET
    time_zone = CASE WHEN 'time_zone' = ANY(%(cleared)s) THEN NULL ELSE coalesce(excluded.time_zone, known.time_zone) END,
    time_rule = CASE WHEN 'time_rule' = ANY(%(cleared)s) THEN NULL ELSE coalesce(excluded.time_rule, known.time_rule) END,
    time_fallback = CASE WHEN 'time_fallback' = ANY(%(cleared)s) THEN NULL ELSE coalesce(excluded.time_fallback, known.time_fallback) END,
    default_region = CASE WHEN 'default_region' = ANY(%(cleared)s) THEN NULL ELSE coalesce(excluded.default_region, known.default_region) END,
    duration_includes_wait = CASE WHEN 'duration_includes_wait' = ANY(%(cleared)s) THEN NULL ELSE coalesce(excluded.duration_includes_wait, known.duration_includes_wait) END,
    updated_at = now()
RETURNING account, time_zone, time_rule, time_fallback, default_region, duration_includes_wait
