"""The workers: enrich CDRs, load them into PostgreSQL, fetch recordings, account for every CDR."""
