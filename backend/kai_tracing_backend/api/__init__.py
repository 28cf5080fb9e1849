"""What the backend answers."""
