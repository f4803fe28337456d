from django.db import migrations, models
from django.db.models import Q

from registry_site.search.index import RestoreTriggers
from registry_site.sqlite.columns import AddColumn, PutLast

SEARCH_COLUMNS = ["search_name", "search_text", "search_spelling"]
BATCH_SIZE = 500


def fill(apps, schema_editor):
    """List the public packages, give all of them downloads to be sorted by, and count those that are listed."""
    packages, downloads = (apps.get_model("packages", name).objects for name in ("Package", "PackageDownloads"))
    listed = Q(type="PUBLIC", removed_at=None, namespace__removed_at=None)
    count, last = 0, 0
    while keys := list(packages.filter(pk__gt=last).order_by("pk").values_list("pk", flat=True)[:BATCH_SIZE]):
        last = keys[-1]
        chosen = packages.filter(listed, pk__in=keys).values("pk")
        count += packages.filter(pk__in=list(chosen.values_list("pk", flat=True))).update(is_listed=True)
        downloads.bulk_create((downloads.model(package_id=key) for key in keys), ignore_conflicts=True)
    apps.get_model("registry_site", "CounterShard").objects.create(name="listed packages", shard=0, value=count)


def clear(apps, schema_editor):
    apps.get_model("registry_site", "CounterShard").objects.filter(name="listed packages").delete()


def restore_triggers():
    """Restore them after a change of columns, and, at the begin, after it is taken back."""
    return [RestoreTriggers("package", column) for column in SEARCH_COLUMNS]


class Migration(migrations.Migration):
    dependencies = [
        ("namespaces", "0003_help_texts"),
        ("packages", "0014_spelling"),
        ("registry_site", "0003_counters"),
    ]

    operations = [
        *restore_triggers(),
        migrations.RemoveIndex("package", "packages_by_name"),
        AddColumn(
            "package",
            "is_listed",
            models.BooleanField(
                default=False, editable=False, help_text="Public, and neither it nor its namespace is in the trash."
            ),
        ),
        migrations.AddConstraint(
            "package",
            models.CheckConstraint(
                condition=Q(is_listed=False) | Q(type="PUBLIC", removed_at=None), name="no_private_package_is_listed"
            ),
        ),
        PutLast("package", SEARCH_COLUMNS),
        *restore_triggers(),
        migrations.AddIndex(
            "package",
            models.Index(fields=["canonical_name", "id"], condition=Q(is_listed=True), name="listed_packages_by_name"),
        ),
        migrations.AddIndex(
            "package",
            models.Index(fields=["created_at", "id"], condition=Q(is_listed=True), name="listed_packages_by_creation"),
        ),
        migrations.AddIndex(
            "package",
            models.Index(fields=["updated_at", "id"], condition=Q(is_listed=True), name="listed_packages_by_change"),
        ),
        migrations.AddIndex(
            "package",
            models.Index(
                fields=["namespace", "removed_at", "canonical_name", "type"], name="packages_of_namespace_by_name"
            ),
        ),
        migrations.AddIndex(
            "packagedownloads", models.Index(fields=["-total", "package"], name="packages_by_downloads")
        ),
        migrations.AddIndex(
            "packagedownloads", models.Index(fields=["-recent", "package"], name="packages_by_recent_downloads")
        ),
        migrations.RunPython(fill, clear),
    ]
