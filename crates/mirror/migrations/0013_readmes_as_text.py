from django.db import migrations, models

from registry_site.sqlite.columns import AddColumn, PutLast


def mark_unexamined(apps, schema_editor):
    """Let `mirror examine` read the crates again: the HTML of a README does not tell its text."""
    apps.get_model("mirror", "CrateFacts").objects.update(examined=0)


class Migration(migrations.Migration):
    dependencies = [("mirror", "0012_fill_summaries")]

    operations = [
        migrations.RunPython(mark_unexamined, migrations.RunPython.noop),
        migrations.RemoveField("cratefacts", "readme_html"),
        AddColumn(
            "cratefacts",
            "readme_path",
            models.CharField(blank=True, default="", help_text="In the repository.", max_length=511),
            preserve_default=False,
        ),
        AddColumn("cratefacts", "readme_text", models.TextField(blank=True, default=""), preserve_default=False),
        PutLast("cratefacts", ["readme_text"]),
        migrations.AlterField(
            "cratefacts",
            "examined",
            models.PositiveSmallIntegerField(
                db_index=True,
                help_text="Revision of the rules by which the file was read; 0 if its manifest alone was.",
            ),
        ),
    ]
