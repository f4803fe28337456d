from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("registry_site", "0002_stored_blobs"),
    ]

    operations = [
        migrations.CreateModel(
            name="CounterShard",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("name", models.CharField(max_length=64)),
                ("shard", models.PositiveSmallIntegerField()),
                ("value", models.BigIntegerField(default=0)),
            ],
            options={
                "constraints": [models.UniqueConstraint(fields=("name", "shard"), name="each_shard_once")],
            },
        ),
    ]
