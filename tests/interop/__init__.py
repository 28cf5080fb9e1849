"""The providers against the servers that people run."""
