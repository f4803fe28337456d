"""Move the reserved names of crates to those of all kinds. There are a few hundred at most."""

from django.db import migrations

COLUMNS = ("reason", "reserved_at", "reserved_by_id")


def move_content_type(apps, former, present):
    """Let staff keep the rights that they have on these rows."""
    content_types = apps.get_model("contenttypes", "ContentType").objects
    if not content_types.filter(app_label=present, model="reservedname").exists():
        content_types.filter(app_label=former, model="reservedname").update(app_label=present)


def forwards(apps, schema_editor):
    model = apps.get_model("accounts", "ReservedName")
    rows = apps.get_model("crates", "ReservedName").objects.order_by("pk").values("pattern", *COLUMNS)
    model.objects.bulk_create(
        [model(kind="crate", form=row["pattern"], is_pattern="*" in row["pattern"], **row) for row in rows]
    )
    move_content_type(apps, "crates", "accounts")


def backwards(apps, schema_editor):
    model = apps.get_model("crates", "ReservedName")
    rows = apps.get_model("accounts", "ReservedName").objects.filter(kind="crate").order_by("pk")
    model.objects.bulk_create([model(pattern=row.pop("form"), **row) for row in rows.values("form", *COLUMNS)])
    rows.delete()
    move_content_type(apps, "accounts", "crates")


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0025_reserved_names"),
        ("contenttypes", "0002_remove_content_type_name"),
        ("crates", "0019_published_with"),
    ]

    operations = [migrations.RunPython(forwards, backwards)]
