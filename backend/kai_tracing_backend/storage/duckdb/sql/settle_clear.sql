DELETE FROM spans_recent WHERE segment = $first
