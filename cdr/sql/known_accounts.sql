-- Those that are found without reading all rows: of CDRs and bodies the newest tell.
SELECT account FROM cdr.accounts
UNION
SELECT account FROM cdr.extensions
UNION
SELECT account FROM (SELECT account FROM cdr.cdrs ORDER BY started_at DESC LIMIT %(newest)s) AS newest_cdrs
UNION
SELECT account FROM (SELECT account FROM cdr.quarantine ORDER BY received_at DESC LIMIT %(newest)s) AS newest_bodies
