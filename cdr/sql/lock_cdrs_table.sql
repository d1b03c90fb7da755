-- As much of a lock as changing a row takes, before any row is locked: who moves rows between partitions holds the table
-- against changes and then wants the rows, and so would wait for us while we wait for them.
LOCK TABLE ONLY cdr.cdrs IN ROW EXCLUSIVE MODE
