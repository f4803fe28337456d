from django.db import migrations

from registry_site.search import spelling

BATCH_SIZE = 500


def fill(apps, schema_editor):
    """Store the words anew by which misspelt names are found."""
    table, last = apps.get_model("crates", "CrateWords").objects, 0
    while rows := list(table.filter(pk__gt=last).order_by("pk").values_list("pk", "crate__name")[:BATCH_SIZE]):
        last = rows[-1][0]
        words = [table.model(pk=pk, spelling=" ".join(spelling.spelling_words(name))) for pk, name in rows]
        table.bulk_update(words, ["spelling"])


class Migration(migrations.Migration):
    dependencies = [("crates", "0016_former_dependents")]

    operations = [migrations.RunPython(fill, migrations.RunPython.noop)]
