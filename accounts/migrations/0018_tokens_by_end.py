from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0017_scopes_by_action"),
    ]

    operations = [
        migrations.AddIndex(
            model_name="credential",
            index=models.Index(
                condition=models.Q(
                    ("end_announced_at", None),
                    ("expires_at__isnull", False),
                    ("kind", "cargo_token"),
                    ("revoked_at", None),
                ),
                fields=["expires_at"],
                name="tokens_by_end",
            ),
        ),
    ]
