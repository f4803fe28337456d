from django.db import migrations, models

from registry_site.sqlite.columns import AddColumn, PutLast


class Migration(migrations.Migration):
    dependencies = [("crates", "0018_counters")]

    operations = [
        AddColumn(
            model_name="version",
            name="published_with",
            field=models.CharField(
                blank=True,
                default="",
                editable=False,
                help_text="The name of the token, or how the publisher signed on.",
                max_length=80,
            ),
            preserve_default=False,
        ),
        PutLast("version", ["dependencies", "features", "links", "license"]),
    ]
