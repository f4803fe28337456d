from django.db import migrations

from crates.mirror import index_lines, summaries


def fill(apps, schema_editor):
    """Summarize the stored index files; `mirror examine` chooses the files that describe them."""
    summary = apps.get_model("mirror", "IndexSummary").objects
    downloads = apps.get_model("mirror", "CrateDownloads")
    index_files = apps.get_model("mirror", "CachedIndexFile").objects
    summary.exclude(index_file__status=200).delete()
    for pk in list(index_files.filter(status=200).order_by("pk").values_list("pk", flat=True)):
        index_file = index_files.get(pk=pk)  # one after another: each may have megabytes
        lines = summaries.distinct(index_lines.parse(bytes(index_file.body)))
        columns = summaries.columns(index_file.name, lines, index_file.changed_at)
        summary.update_or_create(index_file_id=pk, defaults={**columns, "lines": summaries.pack(lines)})
        downloads.objects.bulk_create([downloads(name=index_file.name)], ignore_conflicts=True)


class Migration(migrations.Migration):
    """Apart from 0014: PostgreSQL creates no index on a table whose rows have changed in the same transaction."""

    dependencies = [("mirror", "0014_topics")]

    operations = [
        migrations.RunPython(fill, migrations.RunPython.noop),
    ]
