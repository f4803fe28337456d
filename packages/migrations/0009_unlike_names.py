from importlib import import_module

from django.db import migrations, models

restore_triggers = import_module("packages.migrations.0007_names_and_versions").restore_triggers


class Migration(migrations.Migration):
    dependencies = [("packages", "0008_order_by_time")]

    operations = [
        migrations.RunPython(migrations.RunPython.noop, restore_triggers),
        migrations.AddConstraint(
            "package",
            models.UniqueConstraint(fields=("namespace", "skeleton"), name="no_package_looks_like_another"),
        ),
        migrations.RunPython(restore_triggers, migrations.RunPython.noop),
    ]
