from django.db import migrations, models


def rename_permissions(apps, old, new):
    """Keep the permissions of staff: Django renames the content type of a model, but not its permissions."""
    Permission = apps.get_model("auth", "Permission")
    for action in ("add", "change", "delete", "view"):
        Permission.objects.filter(
            content_type__app_label="packages", codename=f"{action}_{old.replace(' ', '')}"
        ).update(codename=f"{action}_{new.replace(' ', '')}", name=f"Can {action} {new}")


def rename(apps, schema_editor):
    rename_permissions(apps, "replaced", "snapshot revision")


def restore(apps, schema_editor):
    rename_permissions(apps, "snapshot revision", "replaced")


class Migration(migrations.Migration):
    dependencies = [
        ("auth", "0012_alter_user_first_name_max_length"),
        ("contenttypes", "0002_remove_content_type_name"),
        ("packages", "0002_words"),
    ]

    operations = [
        migrations.RenameModel("Replaced", "SnapshotRevision"),
        migrations.RunPython(rename, restore),
        migrations.AlterField(
            "snapshotrevision",
            "release",
            models.ForeignKey(on_delete=models.CASCADE, related_name="revisions", to="packages.release"),
        ),
        migrations.AlterModelOptions(
            "snapshotrevision",
            {"ordering": ("-replaced_at", "-pk"), "verbose_name_plural": "snapshot revisions"},
        ),
    ]
