from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("crates", "0028_fill_index_lines")]

    operations = [migrations.RemoveField(model_name="crate", name="index_text")]
