import django.db.models.functions.text
from django.db import migrations, models

UNIQUE = {
    "name": "each_email_once_in_any_case",
    "violation_error_message": "Another account has this e-mail address.",
}


def release_shared_addresses(apps, schema_editor):
    """Take addresses that were never verified from all accounts but one: the former constraint has each only once."""
    users = apps.get_model("accounts", "User").objects.exclude(email="")
    for user in users.filter(email_verified_at=None).exclude(verification_sent_at=None):
        if users.filter(email__iexact=user.email).exclude(pk=user.pk).exists():
            users.filter(pk=user.pk).update(email="")


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0011_login_failure_unlocked"),
    ]

    operations = [
        migrations.RemoveConstraint(model_name="user", name="each_email_once_in_any_case"),
        migrations.AddIndex(
            model_name="user",
            index=models.Index(
                django.db.models.functions.text.Lower("email"),
                condition=models.Q(("email", ""), _negated=True),
                name="users_by_email",
            ),
        ),
        migrations.AddConstraint(
            model_name="user",
            constraint=models.UniqueConstraint(
                django.db.models.functions.text.Lower("email"),
                condition=models.Q(
                    models.Q(("email", ""), _negated=True),
                    models.Q(("verification_sent_at", None), ("email_verified_at__isnull", False), _connector="OR"),
                ),
                **UNIQUE,
            ),
        ),
        migrations.RunPython(migrations.RunPython.noop, release_shared_addresses),
    ]
