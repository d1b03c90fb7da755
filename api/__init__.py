"""The receiver: takes a CDR, makes it durable, answers. No database, no enrichment."""
