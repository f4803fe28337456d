from django.db import migrations


def open_namespaces(apps, schema_editor):
    """Whoever has an account already gets a namespace of their own, as everybody does from now on."""
    User = apps.get_model("accounts", "User")
    Namespace = apps.get_model("namespaces", "Namespace")
    Membership = apps.get_model("namespaces", "Membership")
    for user in User.objects.filter(namespace=None).iterator():
        namespace = Namespace.objects.create(name=user.username, reservation_id=user.reservation_id, user=user)
        Membership.objects.create(namespace=namespace, user=user, role="OWNER")


class Migration(migrations.Migration):
    dependencies = [("namespaces", "0001_initial"), ("accounts", "0002_doors")]

    operations = [migrations.RunPython(open_namespaces, migrations.RunPython.noop)]
