"""HTTP: a traced client, and middleware for servers."""
