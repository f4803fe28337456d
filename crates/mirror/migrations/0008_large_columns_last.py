from django.db import migrations

from registry_site.sqlite.columns import PutLast


class Migration(migrations.Migration):
    dependencies = [
        ("mirror", "0007_incidents_of_upstreams"),
    ]

    operations = [
        PutLast("cachedindexfile", ["checksums", "body"]),
    ]
