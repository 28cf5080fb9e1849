-- Days and hours that are whole in the window as such, the rest by the minute.
    SELECT service, name, kind, status, spans, weight, total_duration, min_duration, max_duration, buckets, weights
    FROM rates_long
    WHERE (width = 1440 AND minute >= $first_day AND minute < $last_day)
        OR (width = 60 AND minute >= $first_hour AND minute < $last_hour
            AND NOT (minute >= $first_day AND minute < $last_day))
    UNION ALL
    SELECT service, name, kind, status, spans, weight, total_duration, min_duration, max_duration, buckets, weights
    FROM rates
    WHERE minute >= $first AND minute < $last AND NOT (minute >= $first_hour AND minute < $last_hour)
    UNION ALL
    SELECT service, name, kind, status, spans, weight, total_duration, min_duration, max_duration, buckets, weights
    FROM rates_recent
    WHERE minute >= $first AND minute < $last
