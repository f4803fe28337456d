"""A database engine: SQLite whose writers queue."""
