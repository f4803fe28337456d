"""Passwords: log-in and its throttle, changes, hashers, validators."""
