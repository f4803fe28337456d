import django.db.models.deletion
import django.utils.timezone
from django.conf import settings
from django.db import migrations, models
from django.db.models import Q


class Migration(migrations.Migration):
    dependencies = [("accounts", "0024_ranks")]

    operations = [
        migrations.CreateModel(
            name="ReservedName",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "kind",
                    models.CharField(
                        choices=[("crate", "crate"), ("account", "account"), ("namespace", "namespace")], max_length=16
                    ),
                ),
                (
                    "pattern",
                    models.CharField(
                        help_text="Such as acme, or acme-* for all that begin so.", max_length=255, verbose_name="name"
                    ),
                ),
                (
                    "form",
                    models.CharField(
                        editable=False, help_text="In which names of this kind are unique.", max_length=255
                    ),
                ),
                ("is_pattern", models.BooleanField(default=False, editable=False)),
                (
                    "reason",
                    models.CharField(
                        help_text="Shown to those who publish such a crate; otherwise to staff.", max_length=500
                    ),
                ),
                ("reserved_at", models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                (
                    "reserved_by",
                    models.ForeignKey(
                        blank=True,
                        editable=False,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "ordering": ("kind", "pattern"),
                "indexes": [models.Index(fields=["kind"], condition=Q(is_pattern=True), name="reserved_patterns")],
                "constraints": [
                    models.UniqueConstraint(fields=["kind", "form"], name="each_name_reserved_once"),
                    models.CheckConstraint(
                        condition=Q(kind__in=["crate", "account", "namespace"]), name="reserved_name_has_a_known_kind"
                    ),
                ],
            },
        ),
    ]
