import django.db.models.deletion
from django.db import migrations, models

from registry_site.search.index import CreateWordIndex


class Migration(migrations.Migration):
    dependencies = [("crates", "0010_reserved_names")]

    operations = [
        migrations.CreateModel(
            name="PopularWords",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "crate",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE, related_name="+", to="crates.crate"
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
            ],
            options={"verbose_name_plural": "popular words"},
        ),
        CreateWordIndex("popularwords", "name_words", prefixes="2 3 4 5"),
        CreateWordIndex("popularwords", "summary_words", prefixes="2 3 4 5"),
        CreateWordIndex("popularwords", "text_words", prefixes=""),
    ]
