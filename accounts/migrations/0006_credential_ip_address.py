from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0005_credential_app_key_type"),
    ]

    operations = [
        migrations.RenameField(model_name="credential", old_name="peer", new_name="ip_address"),
    ]
