"""A database engine: SQLite whose writers queue; and what its tables need to be quick."""
