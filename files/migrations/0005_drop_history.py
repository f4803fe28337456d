from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("files", "0004_move_history")]

    operations = [migrations.DeleteModel("History")]
