"""The index of words on disk."""

from django.db import connection

INDEX = "crates_cratewords_text_words_words"


def bytes_of_word_index() -> bytes:
    """Return the bytes of the index of texts of crates."""
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("CHECKPOINT")  # writes the pages to the file
            cursor.execute("SELECT pg_read_binary_file(pg_relation_filepath(%s))", [INDEX])
        else:
            cursor.execute(f"SELECT block FROM {INDEX}_data")
        return b"".join(bytes(row[0]) for row in cursor.fetchall())
