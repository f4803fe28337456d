from django.db import migrations

from registry_site.sqlite.columns import PutLast


class Migration(migrations.Migration):
    dependencies = [
        ("crates", "0003_long_links_and_licenses"),
    ]

    operations = [
        PutLast("crate", ["search_text", "index_text"]),
        PutLast("version", ["dependencies", "features", "links", "license"]),
    ]
