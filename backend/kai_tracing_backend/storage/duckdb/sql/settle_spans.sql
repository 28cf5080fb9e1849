INSERT INTO spans_settled FROM temp.incoming
