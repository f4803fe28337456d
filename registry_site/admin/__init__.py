"""The admin site: base classes of its pages, and the pages of this room."""

from registry_site.admin import addresses, announcements, audit_log, mails, runs, search, state

__all__ = ["addresses", "announcements", "audit_log", "mails", "runs", "search", "state"]
