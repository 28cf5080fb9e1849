SELECT rule, expires, last_start // $slice * $slice AS began, count_if(last_start < $end), sum(spans)::BIGINT,
    min(first_here), max(last_here)
FROM verdicts
GROUP BY rule, expires, began
ORDER BY rule, expires, began
