"""The project's own API, `/api/v1`: what it answers is in `models`, one module for each kind of question."""
