from importlib import import_module

from django.db import migrations, models

from registry_site.sqlite.columns import PutLast

words = import_module("packages.migrations.0002_words")


def restore_triggers(apps, schema_editor):
    """Create the triggers that fill the search index again: SQLite lost them with the former copy of the table."""
    if schema_editor.connection.vendor == "sqlite":
        for statement in words.SQLITE:
            if statement.startswith("CREATE TRIGGER"):
                schema_editor.execute(statement.replace("CREATE TRIGGER", "CREATE TRIGGER IF NOT EXISTS"))


class Migration(migrations.Migration):
    dependencies = [("packages", "0006_large_columns_last")]

    operations = [
        migrations.RunPython(migrations.RunPython.noop, restore_triggers),
        migrations.RemoveConstraint("release", "each_version_once_in_its_package"),
        migrations.RenameField("release", "precedence", "canonical_version"),
        migrations.AlterField(
            "release",
            "canonical_version",
            models.CharField(
                editable=False,
                help_text="The form in which the version is unique: with SemVer without build metadata.",
                max_length=127,
            ),
        ),
        migrations.AddConstraint(
            "release",
            models.UniqueConstraint(fields=("package", "canonical_version"), name="each_version_once_in_its_package"),
        ),
        migrations.AlterField("package", "name", models.CharField(max_length=214)),
        migrations.AlterField("package", "canonical_name", models.CharField(editable=False, max_length=214)),
        migrations.AlterField(
            "package",
            "field",
            models.CharField(
                help_text="The ecosystem, such as java or php. It decides about names and versions, for good.",
                max_length=63,
            ),
        ),
        migrations.AlterField(
            "package",
            "newest",
            models.ForeignKey(
                editable=False,
                help_text="The release with the highest version by SemVer, or the last one where versions are any texts.",
                null=True,
                on_delete=models.SET_NULL,
                related_name="+",
                to="packages.release",
            ),
        ),
        migrations.AddField(
            "package",
            "skeleton",
            models.CharField(
                default="", editable=False, help_text="The form that names of the same look share.", max_length=214
            ),
            preserve_default=False,
        ),
        PutLast("release", ["dependencies", "dev_dependencies", "files"]),
        PutLast("package", ["search_name", "search_text"]),
        migrations.RunPython(restore_triggers, migrations.RunPython.noop),
    ]
