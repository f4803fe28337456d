from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("crates", "0002_upstream_of_names"),
    ]

    operations = [
        migrations.AlterField(
            model_name="version",
            name="links",
            field=models.TextField(blank=True),
        ),
        migrations.AlterField(
            model_name="version",
            name="license",
            field=models.TextField(blank=True),
        ),
    ]
