SELECT 'rates', count(*) FROM rates_recent
UNION ALL
SELECT 'edges', count(*) FROM edges_recent
