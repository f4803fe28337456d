"""Readers of untrusted gzip data and tar archives, within limits."""
