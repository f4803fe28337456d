from typing import Any

from django.db import migrations

READY_MADE = ("support", "curator", "security", "auditor")  # as in accounts/ranks.py


def rename_own_groups(apps: Any, schema_editor: Any) -> None:
    """Give another name to groups that have that of a ready-made one: their members keep the rights that they have."""
    if apps.get_model("auth", "Permission").objects.filter(codename="ban_user").exists():
        return  # the way back to an older state and here again: these are the ready-made ones
    groups = apps.get_model("auth", "Group").objects
    for name in READY_MADE:
        groups.filter(name=name).update(name=f"{name} (own)")


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0023_invitation_choice"),
        ("auth", "0012_alter_user_first_name_max_length"),
    ]

    operations = [
        migrations.RunPython(rename_own_groups, migrations.RunPython.noop),
        migrations.AlterModelOptions(
            name="user",
            options={
                "ordering": ("username",),
                "permissions": [
                    ("ban_user", "Can ban users, and lift bans"),
                    ("reset_user", "Can unlock users, send links for passwords, and remove second factors"),
                ],
            },
        ),
    ]
