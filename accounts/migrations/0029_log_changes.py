from django.db import migrations

from registry_site.change_log import LogChanges


class Migration(migrations.Migration):
    dependencies = [("accounts", "0028_plain_names_of_rows"), ("registry_site", "0012_changes")]

    operations = [
        LogChanges("credential", "credential", key="{row}.digest", inserts=False),
        LogChanges("user", "user", key="{row}.id", inserts=False),
        LogChanges("ban", "user", key="{row}.user_id"),
        LogChanges("identity", "user", key="{row}.user_id"),
    ]
