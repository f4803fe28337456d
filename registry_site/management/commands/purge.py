"""`manage.py purge`: delete for good what was removed long ago; safe to run at any time, as from cron."""

from typing import Any

from django.core.management.base import BaseCommand

from registry_site import audit
from registry_site.signals import purge_requested


class Command(BaseCommand):
    requires_system_checks = []
    help = "Delete for good what has been in the trash for REGISTRY_TRASH_DAYS, and other rows and files that expired."

    def handle(self, *args: Any, **options: Any) -> None:
        reports = [str(report) for _, report in purge_requested.send(sender=None)]
        audit.record("manage.py purge", audit.Action.REGISTRY_PURGE, "what has expired", reports=reports)
        self.stdout.write("\n".join(reports))
