"""Measurements that any reader can repeat: `.venv/bin/python -m benchmarks.cargo` from the project's root."""
