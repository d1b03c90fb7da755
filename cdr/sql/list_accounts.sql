SELECT account, time_zone, time_rule, time_fallback, default_region, duration_includes_wait
FROM cdr.accounts
ORDER BY account
