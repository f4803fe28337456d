"""Clearing away what has had its time; each app listens and clears its own."""

from django.dispatch import Signal

purge_requested = Signal()  # no arguments; a receiver gives a sentence about what it deleted
