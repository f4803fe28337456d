import json

from django.db import migrations
from django.db.models.functions import Length


def fill(apps, schema_editor):
    """Give each version the line that the index text of its crate has for it, byte for byte."""
    crates = apps.get_model("crates", "Crate").objects
    versions, line_model = apps.get_model("crates", "Version").objects, apps.get_model("crates", "IndexLine")
    for pk, text in crates.exclude(index_text="").values_list("pk", "index_text").iterator(chunk_size=1):
        keys = dict(versions.filter(crate=pk, removed_at=None).values_list("number", "pk"))
        lines = text.splitlines(keepends=True)
        rows = (line_model(crate_id=pk, version_id=keys[json.loads(line)["vers"]], text=line) for line in lines)
        line_model.objects.bulk_create(rows, batch_size=100)
    crates.update(index_size=Length("index_text"))


def join(apps, schema_editor):
    crates, lines = apps.get_model("crates", "Crate").objects, apps.get_model("crates", "IndexLine").objects
    for pk in crates.values_list("pk", flat=True).iterator(chunk_size=1000):
        text = "".join(lines.filter(crate=pk).order_by("version_id").values_list("text", flat=True))
        crates.filter(pk=pk).update(index_text=text)


class Migration(migrations.Migration):
    dependencies = [("crates", "0027_index_lines")]

    operations = [migrations.RunPython(fill, join)]
