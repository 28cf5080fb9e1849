"""The statements, one in each file."""
