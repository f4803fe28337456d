"""Passwords: log-in, hashers, validators."""
