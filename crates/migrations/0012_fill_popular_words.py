from django.db import migrations

POPULAR_CRATES = 1000
COPIED = ("crate_id", "version_id", "name_words", "summary_words", "text_words")


def fill(apps, schema_editor):
    """Let the first crates count as popular, until a purge compares all by their downloads."""
    rows = apps.get_model("crates", "CrateWords").objects.order_by("crate")[:POPULAR_CRATES].values(*COPIED)
    popular = apps.get_model("crates", "PopularWords")
    popular.objects.bulk_create((popular(**row) for row in rows), batch_size=100)


class Migration(migrations.Migration):
    dependencies = [("crates", "0011_popular_words")]

    operations = [migrations.RunPython(fill, migrations.RunPython.noop)]
