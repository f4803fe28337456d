from django.db import migrations

from registry_site.change_log import LogChanges


class Migration(migrations.Migration):
    dependencies = [("crates", "0029_unrendered_readmes")]

    operations = [
        # An index file is made of its lines; new ones come with another ETag of the crate.
        LogChanges(
            "indexline",
            "index",
            key="coalesce((SELECT index_path FROM crates_crate WHERE id = {row}.crate_id), '')",
            columns=["crate_id", "version_id", "text"],
            inserts=False,
        ),
        # What a download needs of a version.
        LogChanges(
            "version",
            "version",
            key="{row}.id",
            columns=["removed_at", "number", "checksum", "size", "published_at", "crate_id"],
            inserts=False,
        ),
    ]
