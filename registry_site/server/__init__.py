"""The server process: gunicorn's application and worker, read-ahead, metrics, health."""
