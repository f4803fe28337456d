from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("crates", "0020_move_reserved_names")]

    operations = [migrations.DeleteModel(name="ReservedName")]
