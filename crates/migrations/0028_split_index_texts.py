import json

from django.db import migrations


def split(apps, schema_editor):
    """Give each version the line that the index text of its crate has for it, byte for byte."""
    if schema_editor.connection.vendor == "postgresql":
        # A server of before that still runs must not change a text between its split and its end.
        schema_editor.execute("LOCK TABLE crates_crate IN ACCESS EXCLUSIVE MODE")
    crates = apps.get_model("crates", "Crate").objects
    versions, line_model = apps.get_model("crates", "Version").objects, apps.get_model("crates", "IndexLine")
    for pk in list(crates.exclude(index_text="").values_list("pk", flat=True)):
        text = crates.values_list("index_text", flat=True).get(pk=pk)
        keys = dict(versions.filter(crate=pk, removed_at=None).values_list("number", "pk"))
        lines = text.splitlines(keepends=True)
        rows = (line_model(crate_id=pk, version_id=keys[json.loads(line)["vers"]], text=line) for line in lines)
        line_model.objects.bulk_create(rows, batch_size=100)
        crates.filter(pk=pk).update(index_size=len(text))
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute("SET CONSTRAINTS ALL IMMEDIATE")  # else the column cannot be dropped behind it


def join(apps, schema_editor):
    crates, lines = apps.get_model("crates", "Crate").objects, apps.get_model("crates", "IndexLine").objects
    for pk in list(crates.values_list("pk", flat=True)):
        text = "".join(lines.filter(crate=pk).order_by("version_id").values_list("text", flat=True))
        crates.filter(pk=pk).update(index_text=text)
    lines.all().delete()


class Migration(migrations.Migration):
    dependencies = [("crates", "0027_index_lines")]

    operations = [migrations.RunPython(split, join), migrations.RemoveField(model_name="crate", name="index_text")]
