-- From version 2 of the history, whose tables are the same.
UPDATE meta SET version = 3
