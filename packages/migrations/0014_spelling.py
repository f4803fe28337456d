from importlib import import_module

from django.db import migrations

fill = import_module("packages.migrations.0012_spelling").fill  # with the words of today


class Migration(migrations.Migration):
    dependencies = [("packages", "0013_archives")]

    operations = [migrations.RunPython(fill, migrations.RunPython.noop)]
