from django.db import migrations
from django.db.models import Exists, OuterRef

from accounts.checks import list_look_alikes
from accounts.names import skeleton

BATCH = 1000


def fill_skeletons(apps, schema_editor):
    """Work out the skeletons of all names, and mark all but the oldest of those that look alike; none is lost."""
    NameReservation = apps.get_model("accounts", "NameReservation")
    last = 0
    while batch := list(NameReservation.objects.filter(pk__gt=last).only("name").order_by("pk")[:BATCH]):
        for reservation in batch:
            reservation.skeleton = skeleton(reservation.name)
        NameReservation.objects.bulk_update(batch, ["skeleton"])
        last = batch[-1].pk
    older = NameReservation.objects.filter(skeleton=OuterRef("skeleton"), pk__lt=OuterRef("pk"))
    NameReservation.objects.filter(Exists(older)).update(is_look_alike=True)
    for sentence in list_look_alikes(NameReservation):
        print(f"{sentence} Both work as before.")


class Migration(migrations.Migration):
    dependencies = [("accounts", "0013_name_skeletons")]

    operations = [migrations.RunPython(fill_skeletons, migrations.RunPython.noop)]
