from typing import Any

import django.db.models.deletion
from django.db import migrations, models


def add_totals(apps: Any, schema_editor: Any) -> None:
    """Give each crate the row in which its downloads are counted."""
    keys = apps.get_model("crates", "Crate").objects.order_by("pk").values_list("pk", flat=True)
    totals = apps.get_model("crates", "CrateDownloads").objects
    last = 0
    while batch := list(keys.filter(pk__gt=last)[:1000]):
        totals.bulk_create(totals.model(pk=pk) for pk in batch)
        last = batch[-1]


class Migration(migrations.Migration):
    dependencies = [
        ("crates", "0006_fill_facts"),
    ]

    operations = [
        migrations.CreateModel(
            name="VersionDownloads",
            fields=[
                ("total", models.PositiveBigIntegerField(default=0)),
                (
                    "version",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        primary_key=True,
                        related_name="downloads",
                        serialize=False,
                        to="crates.version",
                    ),
                ),
            ],
            options={
                "abstract": False,
            },
        ),
        migrations.CreateModel(
            name="CrateDownloads",
            fields=[
                ("total", models.PositiveBigIntegerField(default=0)),
                ("recent", models.PositiveBigIntegerField(default=0)),
                (
                    "crate",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        primary_key=True,
                        related_name="downloads",
                        serialize=False,
                        to="crates.crate",
                    ),
                ),
            ],
            options={
                "indexes": [
                    models.Index(fields=["-total", "crate"], name="crates_by_downloads"),
                    models.Index(fields=["-recent", "crate"], name="crates_by_recent_downloads"),
                ],
            },
        ),
        migrations.CreateModel(
            name="DailyDownloads",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("day", models.DateField(db_index=True)),
                ("count", models.PositiveBigIntegerField(default=0)),
                (
                    "version",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="daily_downloads",
                        to="crates.version",
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(fields=("version", "day"), name="downloads_of_version_and_day")
                ],
            },
        ),
        migrations.RunPython(add_totals, migrations.RunPython.noop),
    ]
