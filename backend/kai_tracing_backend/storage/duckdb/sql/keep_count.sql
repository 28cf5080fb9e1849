SELECT
    (SELECT count_if(last_start < $end) FROM due),
    (SELECT coalesce(sum(spans), 0)::BIGINT FROM due),
    (SELECT coalesce(sum(spans), 0)::BIGINT FROM verdicts)
