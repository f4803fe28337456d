"""Blobs by their SHA-256, on disk or in S3."""
