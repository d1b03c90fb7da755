-- Names of extensions are learned from CDRs, and workers read what has changed of the directory in the place of all of it.

CREATE INDEX extensions_updated_at ON cdr.extensions (updated_at);

COMMENT ON TABLE cdr.extensions IS 'The extension directory: names by account and extension code, each from a moment on; imported names win over learned ones.';
COMMENT ON COLUMN cdr.extensions.source IS 'import: from a file of yours; learned: a CDR carried the code and the name.';
COMMENT ON COLUMN cdr.extensions.valid_from IS 'From when the name holds; -infinity for always. Of a learned name the start of the first call that showed it; before the first one it is taken all the same.';
COMMENT ON COLUMN cdr.extensions.updated_at IS 'When the row was written; workers look for what was changed of late.';

COMMENT ON TABLE cdr.audit IS 'What somebody changed with a command: who, when, which, and how many.';
COMMENT ON COLUMN cdr.audit.affected IS 'How many jobs, bodies, names or rows it was, also when it was interrupted.';
