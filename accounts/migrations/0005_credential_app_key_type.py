from django.db import migrations, models

TYPES = {"read": "READ_ONLY", "read publish": "PUBLISH", "read publish yank owners manage account": "ALL"}


def store_type(apps, schema_editor):
    credentials = apps.get_model("accounts", "Credential").objects
    for pk, scopes in credentials.filter(kind="app_key").values_list("pk", "scopes").order_by().iterator():
        credentials.filter(pk=pk).update(app_key_type=TYPES.get(" ".join(scopes), "READ_ONLY"))


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0004_credential_scopes_list"),
    ]

    operations = [
        migrations.AddField(
            model_name="credential",
            name="app_key_type",
            field=models.CharField(
                blank=True,
                choices=[("READ_ONLY", "Read Only"), ("PUBLISH", "Publish"), ("ALL", "All")],
                default="",
                editable=False,
                max_length=20,
            ),
            preserve_default=False,
        ),
        migrations.RunPython(store_type, migrations.RunPython.noop),
    ]
