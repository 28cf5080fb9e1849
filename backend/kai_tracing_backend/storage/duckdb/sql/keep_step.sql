CREATE OR REPLACE TEMP TABLE doomed AS
SELECT * FROM due WHERE number > $after AND (shared OR NOT $shared) ORDER BY number LIMIT $step
