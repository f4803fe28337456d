from django.db import migrations

POSTGRESQL = [
    (
        "CREATE INDEX packages_by_words_of_name ON packages_package "
        "USING gin (array_to_tsvector(string_to_array(search_name, ' '))) WITH (fastupdate = off)"
    ),
    (
        "CREATE INDEX packages_by_words ON packages_package "
        "USING gin (array_to_tsvector(string_to_array(search_text, ' '))) WITH (fastupdate = off)"
    ),
]
SQLITE = [
    (
        "CREATE VIRTUAL TABLE packages_words USING fts5 (search_name, search_text, content='packages_package', "
        "content_rowid='id', tokenize='unicode61 remove_diacritics 0', prefix='1 2 3')"
    ),
    (
        "CREATE TRIGGER packages_words_insert AFTER INSERT ON packages_package BEGIN "
        "INSERT INTO packages_words (rowid, search_name, search_text) "
        "VALUES (new.id, new.search_name, new.search_text); END"
    ),
    (
        "CREATE TRIGGER packages_words_delete AFTER DELETE ON packages_package BEGIN "
        "INSERT INTO packages_words (packages_words, rowid, search_name, search_text) "
        "VALUES ('delete', old.id, old.search_name, old.search_text); END"
    ),
    (
        "CREATE TRIGGER packages_words_update AFTER UPDATE OF search_name, search_text ON packages_package "
        "WHEN old.search_name <> new.search_name OR old.search_text <> new.search_text BEGIN "
        "INSERT INTO packages_words (packages_words, rowid, search_name, search_text) "
        "VALUES ('delete', old.id, old.search_name, old.search_text); "
        "INSERT INTO packages_words (rowid, search_name, search_text) "
        "VALUES (new.id, new.search_name, new.search_text); END"
    ),
]


def create(apps, schema_editor):
    """The index of words, in each database's own way; the database itself keeps it."""
    for statement in POSTGRESQL if schema_editor.connection.vendor == "postgresql" else SQLITE:
        schema_editor.execute(statement)


def drop(apps, schema_editor):
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute("DROP INDEX packages_by_words")
        schema_editor.execute("DROP INDEX packages_by_words_of_name")
    else:
        schema_editor.execute("DROP TABLE packages_words")
        for event in ("insert", "delete", "update"):
            schema_editor.execute(f"DROP TRIGGER packages_words_{event}")


class Migration(migrations.Migration):
    dependencies = [("packages", "0001_initial")]

    operations = [migrations.RunPython(create, drop)]
