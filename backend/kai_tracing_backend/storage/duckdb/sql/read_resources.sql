SELECT id, text FROM resources
