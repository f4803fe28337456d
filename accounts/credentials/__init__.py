"""Credentials: cargo tokens, JWT sessions, browser sessions, app keys, and their revocation."""
