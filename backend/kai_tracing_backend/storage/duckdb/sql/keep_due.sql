-- Numbered by start, so that a step is a part of the file.
CREATE OR REPLACE TEMP TABLE due AS
SELECT *, row_number() OVER (ORDER BY first_here, trace_high, trace_low) AS number
FROM verdicts
WHERE expires <> $never
    AND (expires <= $now OR (expires, last_start // $slice * $slice) <= ($expires, $began))
