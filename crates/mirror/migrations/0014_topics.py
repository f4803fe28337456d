import django.db.models.deletion
from django.db import migrations, models

from crates.mirror import index_lines, summaries
from registry_site.search.index import RestoreTriggers
from registry_site.sqlite.columns import AddColumn, PutLast


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
    dependencies = [("mirror", "0013_readmes_as_text")]

    operations = [
        RestoreTriggers("indexsummary", "name_words"),  # on the way back
        migrations.AlterModelOptions(
            name="indexsummary",
            options={"ordering": ("canonical_name",), "verbose_name_plural": "index summaries"},
        ),
        AddColumn(
            "indexsummary", "canonical_name", models.CharField(default="", max_length=64), preserve_default=False
        ),
        migrations.AddField(
            "indexsummary",
            "first_usable_at",
            models.DateTimeField(
                help_text="Publication of the first version that is not yanked, long ago if the index does not say.",
                null=True,
            ),
        ),
        migrations.AddField(
            "indexsummary",
            "described_by",
            models.ForeignKey(
                db_constraint=False,
                null=True,
                on_delete=django.db.models.deletion.DO_NOTHING,
                related_name="+",
                to="mirror.cachedcrate",
            ),
        ),
        AddColumn(
            "indexsummary",
            "lines",
            models.JSONField(
                default=list, help_text="What policies need of each version: number, checksum, yanked, publication."
            ),
            preserve_default=False,
        ),
        migrations.AlterField(
            "indexsummary", "name", models.CharField(help_text="As upstream spells it.", max_length=64)
        ),
        PutLast("indexsummary", ["lines"]),
        RestoreTriggers("indexsummary", "name_words"),
        migrations.AddIndex(
            "indexsummary", models.Index(fields=["canonical_name", "first_usable_at"], name="mirrored_by_name")
        ),
        migrations.CreateModel(
            name="Topic",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("keyword", "Keyword"),
                            ("category", "Category"),
                            ("parent", "a category above one of the crate"),
                        ],
                        max_length=16,
                    ),
                ),
                ("word", models.CharField(max_length=64)),
                (
                    "summary",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="topics", to="mirror.indexsummary"
                    ),
                ),
            ],
        ),
        migrations.AddConstraint(
            "topic",
            models.UniqueConstraint(fields=["word", "kind", "summary"], name="each_topic_of_a_crate_once"),
        ),
        migrations.RunPython(fill, migrations.RunPython.noop),
    ]
