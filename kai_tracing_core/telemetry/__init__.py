"""What spans tell about a service as a whole: metrics, logs, and where its time goes."""
