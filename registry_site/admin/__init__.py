"""The admin site: base classes of its pages, and the pages of this room."""

from registry_site.admin import announcements, audit_log, mails, runs, search, state

__all__ = ["announcements", "audit_log", "mails", "runs", "search", "state"]
