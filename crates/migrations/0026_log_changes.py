from django.db import migrations

from registry_site.change_log import LogChanges


class Migration(migrations.Migration):
    dependencies = [("crates", "0025_plain_names_of_rows"), ("registry_site", "0012_changes")]

    operations = [
        LogChanges(
            "crate",
            "index",
            key="{row}.index_path",
            columns=["index_etag", "index_modified", "index_path", "removed_at", "index_text"],
        ),
        # What the mirror serves of this name.
        LogChanges("crate", "mirror", key="{row}.canonical_name", columns=["canonical_name", "name", "upstream"]),
    ]
