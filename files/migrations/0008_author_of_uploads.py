from django.db import migrations, models
from django.db.models import OuterRef, Subquery, Value
from django.db.models.functions import Coalesce


def take_over_from_audit_log(apps, schema_editor):
    """Take over from the audit log who added the uploads that are there."""
    events = apps.get_model("registry_site", "AuditEvent").objects.filter(
        object_type="files.file", object_id=OuterRef("pk"), action="file.add"
    )
    author = Coalesce(Subquery(events.order_by("-id").values("actor_name")[:1]), Value(""))
    apps.get_model("files", "File").objects.exclude(sha256="").update(uploaded_by=author)


class Migration(migrations.Migration):
    dependencies = [
        ("files", "0007_activity_of_clients"),
        ("registry_site", "0008_audit_seals"),
    ]

    operations = [
        migrations.AddField(
            model_name="file",
            name="uploaded_by",
            field=models.CharField(
                blank=True,
                editable=False,
                help_text="The author of the uploaded bytes, as in the audit log.",
                max_length=255,
            ),
        ),
        migrations.RunPython(take_over_from_audit_log, migrations.RunPython.noop),
    ]
