from django.db import migrations
from django.db.models import Sum


def fill(apps, schema_editor):
    """Count the present crates, versions and downloads; from now on transactions do."""
    crates, versions = apps.get_model("crates", "Crate").objects, apps.get_model("crates", "Version").objects
    downloads = apps.get_model("crates", "CrateDownloads").objects.aggregate(sum=Sum("total"))["sum"]
    values = {
        "usable crates": crates.exclude(max_version=None).count(),
        "versions of crates": versions.filter(removed_at=None).count(),
        "downloads of crates": downloads or 0,
    }
    shard = apps.get_model("registry_site", "CounterShard")
    shard.objects.bulk_create(shard(name=name, shard=0, value=value) for name, value in values.items())


def clear(apps, schema_editor):
    apps.get_model("registry_site", "CounterShard").objects.filter(name__endswith=" crates").delete()


class Migration(migrations.Migration):
    dependencies = [("crates", "0017_spelling"), ("registry_site", "0003_counters")]

    operations = [migrations.RunPython(fill, clear)]
