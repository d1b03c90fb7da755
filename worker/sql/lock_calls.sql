-- As much of a lock as writing a row takes: waits for whoever holds the whole table.
LOCK TABLE cdr.calls, cdr.call_links IN ROW EXCLUSIVE MODE
