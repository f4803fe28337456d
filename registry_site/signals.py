"""Signals of the ground floor. Webhooks and the like listen here."""

from django.dispatch import Signal

# Sent after the commit of each change with `event`, its `AuditEvent`. A failure of a receiver is logged and harms no
# other receiver.
event_recorded = Signal()

# Sent in the transaction of each change with `event`, its `AuditEvent`, which is stored. Receivers add what must not be
# lost, such as entries of the outbox, and nothing slow; whatever they raise undoes the change.
event_recording = Signal()

# Sent about once a minute by each worker of the server, without arguments.
minute_passed = Signal()

# Sent about once an hour by each worker of the server, without arguments.
hour_passed = Signal()

# Sent by `manage.py purge` without arguments. Each receiver deletes what has expired in its room, and returns a
# sentence about it.
purge_requested = Signal()

# Sent before blobs are deleted, with `checksums`. Each receiver returns the set of those that its rows refer to. It
# reads them in one statement, or a reference that moves from one table to another would be missed.
blobs_needed = Signal()

# Sent by the server, without arguments, before it forks its workers. Receivers load what all of them share: whatever
# a worker loads later takes its memory in each of them.
server_loading = Signal()
