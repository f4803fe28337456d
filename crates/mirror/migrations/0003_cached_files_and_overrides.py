from django.db import migrations

RENAMED = [("entry", "cached index file"), ("archive", "cached crate"), ("decision", "override")]


def rename_permissions(apps, pairs):
    """Keep the permissions of staff: Django renames the content type of a model, but not its permissions."""
    Permission = apps.get_model("auth", "Permission")
    for old, new in pairs:
        for action in ("add", "change", "delete", "view"):
            Permission.objects.filter(
                content_type__app_label="mirror", codename=f"{action}_{old.replace(' ', '')}"
            ).update(codename=f"{action}_{new.replace(' ', '')}", name=f"Can {action} {new}")


def rename(apps, schema_editor):
    rename_permissions(apps, RENAMED)


def restore(apps, schema_editor):
    rename_permissions(apps, [(new, old) for old, new in RENAMED])


class Migration(migrations.Migration):
    dependencies = [
        ("auth", "0012_alter_user_first_name_max_length"),
        ("contenttypes", "0002_remove_content_type_name"),
        ("mirror", "0002_policies"),
    ]

    operations = [
        migrations.RenameModel("Entry", "CachedIndexFile"),
        migrations.RenameModel("Archive", "CachedCrate"),
        migrations.RenameModel("Decision", "Override"),
        migrations.RunPython(rename, restore),
    ]
