"""Which traces are kept: tail sampling of what arrives, and the strategies that senders ask for."""
