"""Search by words, in an index that the database itself maintains: FTS5 in SQLite, GIN in PostgreSQL."""
