INSERT INTO attribute_index SELECT DISTINCT fingerprint, segment FROM attributes_recent ORDER BY fingerprint, segment;
DELETE FROM attributes_recent
