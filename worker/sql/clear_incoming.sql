DELETE FROM incoming
