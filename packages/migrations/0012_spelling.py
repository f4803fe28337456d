from itertools import islice

from django.db import migrations, models

from registry_site.search import spelling
from registry_site.search.index import CreateWordIndex, RestoreTriggers

BATCH_SIZE = 500


def fill(apps, schema_editor):
    """Store the spelling of the packages that search shows."""
    packages = apps.get_model("packages", "Package").objects
    rows = packages.exclude(search_name="").order_by("pk").only("pk", "name").iterator(BATCH_SIZE)
    while batch := list(islice(rows, BATCH_SIZE)):
        for package in batch:
            package.search_spelling = " ".join(spelling.spelling_words(package.name))
        packages.bulk_update(batch, ["search_spelling"])


class Migration(migrations.Migration):
    dependencies = [("packages", "0011_counts_of_downloads")]

    operations = [
        migrations.AddField("package", "search_spelling", models.TextField(default="", editable=False)),
        RestoreTriggers("package", "search_name"),
        RestoreTriggers("package", "search_text"),
        CreateWordIndex("package", "search_spelling", prefixes=""),
        migrations.RunPython(fill, migrations.RunPython.noop),
    ]
