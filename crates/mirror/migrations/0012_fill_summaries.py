from django.db import migrations

from crates.mirror import index_lines, summaries
from registry_site.search.index import CreateWordIndex


def fill(apps, schema_editor):
    """Summarize the stored index files; `mirror examine` reads the stored crates."""
    summary = apps.get_model("mirror", "IndexSummary")
    index_files = apps.get_model("mirror", "CachedIndexFile").objects.filter(status=200)
    for pk in list(index_files.order_by("pk").values_list("pk", flat=True)):
        index_file = index_files.get(pk=pk)  # one after another: each may have megabytes
        lines = index_lines.parse(bytes(index_file.body))
        columns = summaries.columns(index_file.name, lines, index_file.changed_at)
        summary.objects.get_or_create(index_file_id=pk, defaults=columns)


class Migration(migrations.Migration):
    dependencies = [("mirror", "0011_facts")]

    operations = [
        CreateWordIndex("indexsummary", "name_words"),
        migrations.RunPython(fill, migrations.RunPython.noop),
    ]
