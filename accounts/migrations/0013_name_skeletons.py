from django.db import migrations, models

import accounts.models


class Migration(migrations.Migration):
    dependencies = [("accounts", "0012_unverified_addresses")]

    operations = [
        migrations.AddField(
            model_name="namereservation",
            name="skeleton",
            field=models.CharField(
                default="",
                editable=False,
                help_text="The form that names share if they look alike.",
                max_length=255,
            ),
            preserve_default=False,
        ),
        migrations.AddField(
            model_name="namereservation",
            name="is_look_alike",
            field=models.BooleanField(
                default=False,
                editable=False,
                help_text="Another name looks alike: one of the same user, or from before such names were refused.",
            ),
        ),
        migrations.AddIndex(
            model_name="namereservation",
            index=models.Index(fields=["skeleton"], name="names_by_look"),
        ),
        migrations.AlterField(
            model_name="user",
            name="username",
            field=models.CharField(max_length=255, unique=True, validators=[accounts.models.validate_new_username]),
        ),
    ]
