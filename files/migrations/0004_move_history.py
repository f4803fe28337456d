"""Move the history of files and clients to the audit log of the whole registry."""

import re
from itertools import islice

from django.db import migrations
from django.db.models import Q

BATCH = 1000
OF_FILES = Q(action__startswith="file.") | Q(action__startswith="client.")


def to_detail(action, text):
    """Return the fields, the number of sessions or the session of which a history's text spoke."""
    if not text:
        return {}
    if action in ("update", "client.change"):
        return {"fields": text.split(", ")}
    if match := re.fullmatch("([0-9]+) sessions ended", text):
        return {"sessions_ended": int(match[1])}
    return {"session": text.removeprefix("that of ")}


def to_text(detail):
    if "fields" in detail:
        return ", ".join(detail["fields"])
    if "sessions_ended" in detail:
        return f"{detail['sessions_ended']} sessions ended"
    return f"that of {detail['session']}" if "session" in detail else ""


def to_event(model, row):
    event = model(at=row.at, actor_name=row.actor, ip_address=row.peer, detail=to_detail(row.action, row.detail))
    if row.action.startswith("client."):
        event.action, event.target = row.action, row.target
        event.object_type, event.object_id = "files.client", row.client_id
    else:
        number, _, event.target = row.target.partition(" ")  # the row of the file may be gone
        event.action = f"file.{row.action}"
        event.object_type, event.object_id = "files.file", int(number)
    return event


def to_history(model, event, file_ids):
    row = model(at=event.at, actor=event.actor_name[:200], peer=event.ip_address, detail=to_text(event.detail))
    if event.object_type == "files.client":
        row.action, row.target, row.client_id = event.action, event.target, event.object_id
    else:
        row.action, row.target = event.action.removeprefix("file."), f"{event.object_id} {event.target}"
        row.file_id = event.object_id if event.object_id in file_ids else None
    return row


def forwards(apps, schema_editor):
    events = apps.get_model("registry_site", "AuditEvent")
    rows = apps.get_model("files", "History").objects.order_by("pk").iterator(chunk_size=BATCH)
    while batch := list(islice(rows, BATCH)):
        events.objects.bulk_create([to_event(events, row) for row in batch])


def backwards(apps, schema_editor):
    files, history = apps.get_model("files", "File"), apps.get_model("files", "History")
    events = apps.get_model("registry_site", "AuditEvent").objects.filter(OF_FILES)
    rows = events.order_by("pk").iterator(chunk_size=BATCH)
    while batch := list(islice(rows, BATCH)):
        ids = {event.object_id for event in batch if event.object_type == "files.file"}
        present = set(files.objects.filter(pk__in=ids).values_list("pk", flat=True))
        history.objects.bulk_create([to_history(history, event, present) for event in batch])
    events.delete()


class Migration(migrations.Migration):
    dependencies = [("files", "0003_plain_help_texts"), ("registry_site", "0001_audit_events")]

    operations = [migrations.RunPython(forwards, backwards)]
