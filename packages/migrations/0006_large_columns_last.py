from django.db import migrations

from registry_site.sqlite.columns import PutLast


class Migration(migrations.Migration):
    dependencies = [
        ("packages", "0005_changed_fields_of_revisions"),
    ]

    operations = [
        PutLast("package", ["search_name", "search_text"]),
        PutLast("release", ["dependencies", "dev_dependencies", "files"]),
        PutLast("snapshotrevision", ["dependencies", "dev_dependencies", "files"]),
    ]
