import django.db.models.deletion
from django.db import migrations, models

from registry_site.search.index import RestoreTriggers
from registry_site.sqlite.columns import AddColumn, PutLast


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
    ]
