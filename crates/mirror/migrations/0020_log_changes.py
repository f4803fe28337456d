from django.db import migrations

from registry_site.change_log import LogChanges

CANONICAL_NAME = "replace({row}.name, '-', '_')"  # as `names.canonical` has it, of a name in lower case


class Migration(migrations.Migration):
    dependencies = [("mirror", "0019_plain_names_of_rows"), ("registry_site", "0012_changes")]

    operations = [
        LogChanges(
            "cachedindexfile",
            "mirror",
            key=CANONICAL_NAME,
            columns=["status", "checked_at", "changed_at", "name", "path", "body"],
        ),
        # Licenses decide about versions, and without an upstream the files that are here.
        LogChanges(
            "cachedcrate", "mirror", key=CANONICAL_NAME, columns=["name", "version", "sha256", "size", "license"]
        ),
        LogChanges("override", "mirror", key=CANONICAL_NAME),
    ]
