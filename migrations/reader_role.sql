-- Applied by every `cdr migrate`: the role that may read all of it and change nothing. A database user who may not
-- make roles gets a notice, and the rest of the product works without the role.
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'cdr_reader') THEN
        BEGIN
            CREATE ROLE cdr_reader NOLOGIN;
        EXCEPTION
            -- Another database of the same server made the role at the same moment; it is there now.
            WHEN duplicate_object OR unique_violation THEN NULL;
        END;
    END IF;
    GRANT USAGE ON SCHEMA cdr TO cdr_reader;
    GRANT SELECT ON ALL TABLES IN SCHEMA cdr TO cdr_reader;
    ALTER DEFAULT PRIVILEGES IN SCHEMA cdr GRANT SELECT ON TABLES TO cdr_reader;
EXCEPTION
    WHEN insufficient_privilege THEN
        RAISE NOTICE 'the role cdr_reader could not be made or granted: %', SQLERRM;
END $$;
