from importlib import import_module

from django.db import migrations

from registry_site.search.index import CreateWordIndex

words = import_module("packages.migrations.0002_words")


def drop(apps, schema_editor):
    words.drop(apps, schema_editor)


def restore(apps, schema_editor):
    """Create the former index of all columns, with the words of the present rows."""
    words.create(apps, schema_editor)
    if schema_editor.connection.vendor == "sqlite":
        schema_editor.execute("INSERT INTO packages_words (packages_words) VALUES ('rebuild')")


class Migration(migrations.Migration):
    dependencies = [("packages", "0009_unlike_names")]

    operations = [
        migrations.RunPython(drop, restore),
        CreateWordIndex("package", "search_name"),
        CreateWordIndex("package", "search_text"),
    ]
