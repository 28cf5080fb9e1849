-- The first rule that a trace passes says how long it is kept after the end of the day of its last span. All rules
-- together are numbered from the lowest bit; the last rule is passed by every span.
CREATE OR REPLACE TEMP TABLE verdicts AS
WITH whole AS (
    SELECT trace_high, trace_low, bit_or(passed) AS passed, max(last_start) AS last_start,
        sum(spans) FILTER (file_end = $end)::BIGINT AS spans,
        min(first_start) FILTER (file_end = $end) AS first_here,
        max(last_start) FILTER (file_end = $end) AS last_here,
        min(file_end) < max(file_end) AS shared,
        bool_or(list_contains($held, file_end)) AS held
    FROM facts
    GROUP BY trace_high, trace_low
),
ruled AS (
    SELECT *, bit_count(xor(passed, passed - 1))::INTEGER - 1 AS rule FROM whole
)
SELECT ruled.*,
    CASE WHEN held OR pinned.trace_low IS NOT NULL THEN $never
        ELSE least($never::HUGEINT, (last_start // $day + 1) * $day::HUGEINT + $keeps[rule + 1])::BIGINT
    END AS expires
FROM ruled
LEFT JOIN pinned ON pinned.trace_low = ruled.trace_low AND pinned.trace_high = ruled.trace_high
WHERE spans IS NOT NULL
