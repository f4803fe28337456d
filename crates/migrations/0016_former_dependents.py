from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("crates", "0015_checksums"),
    ]

    operations = [
        migrations.AddIndex(
            model_name="dependency",
            index=models.Index(
                condition=models.Q(("is_current", False)),
                fields=["canonical_name", "registry"],
                name="former_dependents",
            ),
        ),
    ]
