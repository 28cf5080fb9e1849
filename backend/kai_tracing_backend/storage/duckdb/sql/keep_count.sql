SELECT
    (SELECT count(*) FROM due),
    (SELECT coalesce(sum(spans), 0)::BIGINT FROM due),
    (SELECT coalesce(sum(spans), 0)::BIGINT FROM verdicts)
