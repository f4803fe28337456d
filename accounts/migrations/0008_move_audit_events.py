"""Move the audit events of accounts to the audit log of the whole registry."""

from itertools import islice

from django.db import migrations
from django.db.models import F, Q

BATCH = 1000
COLUMNS = ("at", "actor_id", "actor_name", "action", "target", "detail")
OF_FILES = Q(action__startswith="file.") | Q(action__startswith="client.")


def copy(rows, address, model, new_address):
    """Copy rows to another model in batches: a log of years does not fit into memory."""
    values = rows.order_by("pk").values(*COLUMNS, **{new_address: F(address)}).iterator(chunk_size=BATCH)
    while batch := [model(**row) for row in islice(values, BATCH)]:
        model.objects.bulk_create(batch)


def move_content_type(apps, former, present):
    """Whoever of the staff may read the events may read them still."""
    content_types = apps.get_model("contenttypes", "ContentType").objects
    if not content_types.filter(app_label=present, model="auditevent").exists():
        content_types.filter(app_label=former, model="auditevent").update(app_label=present)


def forwards(apps, schema_editor):
    events = apps.get_model("accounts", "AuditEvent").objects.all()
    copy(events, "peer", apps.get_model("registry_site", "AuditEvent"), "ip_address")
    move_content_type(apps, "accounts", "registry_site")


def backwards(apps, schema_editor):
    events = apps.get_model("registry_site", "AuditEvent").objects.exclude(OF_FILES)
    copy(events, "ip_address", apps.get_model("accounts", "AuditEvent"), "peer")
    events.delete()
    move_content_type(apps, "registry_site", "accounts")


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0007_plain_help_texts"),
        ("contenttypes", "0002_remove_content_type_name"),
        ("registry_site", "0001_audit_events"),
    ]

    operations = [migrations.RunPython(forwards, backwards)]
