"""Mails to the owners of crates: new versions, and other owners."""

from accounts.models import User
from accounts.notifications import Topic, add_topic, notify, on
from crates.models import Version
from registry_site.audit import Action
from registry_site.models import AuditEvent

MAX_NAMES = 10  # in a line

NEW_VERSIONS = add_topic(
    Topic(
        "new_versions",
        "these versions of a crate that you own were published:",
        "If none of its owners did that, yank them, and revoke the tokens that may publish:",
        "/account/tokens",
        "You get this mail because your account owns the crate.",
        choice="new_versions",
    )
)
OWNERS = add_topic(
    Topic(
        "owners_changed",
        "the owners of a crate that you own, or owned until now, were changed:",
        "If that is wrong, talk to the other owners, or ask the operator of the registry. What your account did:",
        "/account/events",
        "You get this mail because your account owns the crate, or owned it.",
        choice="owners_changed",
    )
)


@on(Action.CRATE_PUBLISH)
def tell_of_version(event: AuditEvent) -> None:
    """Tell all owners of a new version, its publisher, too: somebody else may have the token."""
    version = Version.with_removed.select_related("crate").get(pk=event.object_id or 0)
    means = f" with {version.published_with}" if version.published_with else ""
    line = f"{version}, by {event.actor_name}{means}, {event.at:%Y-%m-%d %H:%M} UTC"
    owners = User.objects.filter(ownerships__crate=version.crate_id)
    notify(NEW_VERSIONS, owners, f"{version.crate} {version.number} was published", line, key=version.crate.name)


@on(Action.CRATE_ADD_OWNERS, Action.CRATE_REMOVE_OWNERS)
def tell_of_owners(event: AuditEvent) -> None:
    """Tell all owners, the former ones, too."""
    names = event.detail["users"]
    verb = "added" if event.action == Action.CRATE_ADD_OWNERS else "removed"
    listed = ", ".join(names[:MAX_NAMES]) + (", …" if len(names) > MAX_NAMES else "")
    line = f"{verb}: {listed}, by {event.actor_name}, {event.at:%Y-%m-%d %H:%M} UTC"
    owners = User.objects.filter(ownerships__crate=event.object_id)
    everybody = owners | User.objects.filter(username__in=names)
    notify(OWNERS, everybody.distinct(), f"The owners of {event.target} were changed", line, key=event.target)
