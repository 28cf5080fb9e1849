-- Which of the wanted traces have spans that stand to one another as asked. Spans are meant by their ids, `up` has how
-- each names its parent: the half that a server adds to a client's span (B3) has its id, and is its child.
-- Those that have spans in another file, too, are not known as a whole here.
WITH RECURSIVE chosen AS MATERIALIZED (
    SELECT wanted.number AS trace, span_id AS id, parent_id, /* shared */ AS shared, /* filters */
    FROM spans
    JOIN wanted ON wanted.trace_low = spans.trace_low AND wanted.trace_high = spans.trace_high
    WHERE (/* ranges */)
),
up AS MATERIALIZED (
    SELECT trace, id, parent_id AS up FROM chosen WHERE parent_id <> 0
    UNION ALL
    SELECT trace, id, id FROM chosen WHERE shared
),
/* sets */
SELECT trace FROM /* found */
/* odd */
/* elsewhere */
