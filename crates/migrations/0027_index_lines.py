import django.db.models.deletion
from django.db import migrations, models

from registry_site.change_log import LogChanges


class Migration(migrations.Migration):
    dependencies = [("crates", "0026_log_changes")]

    operations = [
        migrations.CreateModel(
            name="IndexLine",
            fields=[
                (
                    "version",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        primary_key=True,
                        related_name="index_line",
                        serialize=False,
                        to="crates.version",
                    ),
                ),
                (
                    "crate",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="index_lines",
                        to="crates.crate",
                    ),
                ),
                ("text", models.TextField(help_text="With its newline.")),
            ],
            options={"indexes": [models.Index(fields=["crate", "version"], name="index_lines_of_crate")]},
        ),
        migrations.AddField(
            model_name="crate",
            name="index_size",
            field=models.PositiveIntegerField(default=0, editable=False, help_text="Bytes of all lines."),
        ),
        # SQLite's triggers went with the table, and those of both databases name the column of the text, which goes.
        LogChanges(
            "crate",
            "index",
            key="{row}.index_path",
            columns=["index_etag", "index_modified", "index_path", "removed_at"],
        ),
        LogChanges("crate", "mirror", key="{row}.canonical_name", columns=["canonical_name", "name", "upstream"]),
    ]
