"""Signals of the ground floor. Webhooks and the like listen here."""

from django.dispatch import Signal

# Sent after the commit of each change with `event`, its `AuditEvent`. A failure of a receiver is logged and harms no
# other receiver.
event_recorded = Signal()

# Sent by `manage.py purge` without arguments. Each receiver deletes what has expired in its room, and returns a
# sentence about it.
purge_requested = Signal()
