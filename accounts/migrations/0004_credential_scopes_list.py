from django.db import migrations, models


def split(apps, schema_editor):
    credentials = apps.get_model("accounts", "Credential").objects
    for text in credentials.values_list("scopes", flat=True).distinct().order_by():
        credentials.filter(scopes=text).update(scope_list=text.split())


def join(apps, schema_editor):
    credentials = apps.get_model("accounts", "Credential").objects
    # One row after the other: databases do not agree on which JSON values are equal.
    for pk, scope_list in credentials.values_list("pk", "scope_list").order_by().iterator():
        credentials.filter(pk=pk).update(scopes=" ".join(scope_list))


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0003_identities"),
    ]

    operations = [
        migrations.AddField(
            model_name="credential",
            name="scope_list",
            field=models.JSONField(default=list, help_text="The list of scopes that the credential allows."),
        ),
        # Backwards, the column comes again: without a default, no row could have it.
        migrations.AlterField(
            model_name="credential",
            name="scopes",
            field=models.CharField(default="", max_length=255),
        ),
        migrations.RunPython(split, join),
        migrations.RemoveField(model_name="credential", name="scopes"),
        migrations.RenameField(model_name="credential", old_name="scope_list", new_name="scopes"),
    ]
