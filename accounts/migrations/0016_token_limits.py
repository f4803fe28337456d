from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0015_each_look_of_a_name_once"),
    ]

    operations = [
        migrations.AddField(
            model_name="credential",
            name="crate_patterns",
            field=models.JSONField(default=list, help_text="The crates that it may change. Empty: all of its user."),
        ),
        migrations.AddField(
            model_name="credential",
            name="last_used_at",
            field=models.DateTimeField(
                blank=True,
                editable=False,
                help_text="Written at most once an hour.",
                null=True,
                verbose_name="last used",
            ),
        ),
        migrations.AddField(
            model_name="credential",
            name="last_used_ip",
            field=models.GenericIPAddressField(
                blank=True, editable=False, null=True, unpack_ipv4=True, verbose_name="last used from"
            ),
        ),
        migrations.AddField(
            model_name="credential",
            name="end_announced_at",
            field=models.DateTimeField(
                blank=True,
                editable=False,
                help_text="When its user got word that the token ends soon.",
                null=True,
            ),
        ),
    ]
