SELECT account, extension_code, extension_name
FROM (
    SELECT
        account, extension_code, extension_name,
        row_number() OVER (
            PARTITION BY account, extension_code
            ORDER BY source = 'import' DESC, valid_from DESC
        ) AS place
    FROM cdr.extensions
    WHERE valid_from <= now()
) AS names
WHERE place = 1
