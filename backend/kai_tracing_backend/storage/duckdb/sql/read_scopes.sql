SELECT id, text FROM scopes
