import django.db.models.deletion
from django.db import migrations, models

from registry_site.search.index import CreateWordIndex


class Migration(migrations.Migration):
    dependencies = [("crates", "0007_counts_of_downloads")]

    operations = [
        migrations.CreateModel(
            name="CrateWords",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "crate",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE, related_name="words", to="crates.crate"
                    ),
                ),
                (
                    "version",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="+", to="crates.version"
                    ),
                ),
                (
                    "name_words",
                    models.CharField(help_text="The name without separators, then its words.", max_length=300),
                ),
                ("summary_words", models.TextField(help_text="Of name, description, keywords and categories.")),
                ("text_words", models.TextField(help_text="Of all these and the README.")),
                ("spelling", models.TextField(blank=True, help_text="Words that similar names share.")),
            ],
            options={"verbose_name_plural": "crate words"},
        ),
        CreateWordIndex("cratewords", "name_words", prefixes="2 3 4 5"),
        CreateWordIndex("cratewords", "summary_words", prefixes="2 3 4 5"),
        CreateWordIndex("cratewords", "text_words", prefixes=""),
        CreateWordIndex("cratewords", "spelling", prefixes=""),
        migrations.RemoveField("crate", "search_text"),
    ]
