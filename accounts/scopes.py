"""Scopes: the actions that a credential can allow."""

from collections.abc import Sequence

from django.db.models import TextChoices

from registry_site.errors import Invalid


class Scope(TextChoices):
    """Actions, in the words of crates.io as far as it has them; the labels say what a scope is for."""

    PUBLISH_NEW = "publish-new", "publish crates that do not exist yet"
    PUBLISH_UPDATE = "publish-update", "publish new versions of existing crates"
    YANK = "yank", "yank versions, and take that back"
    CHANGE_OWNERS = "change-owners", "add and remove owners, and delete crates"
    READ = "read", "read the account and, where this registry asks for a token, the index and crates"
    MANAGE = "manage", "manage namespaces, members and collaborators"
    ACCOUNT = "account", "change the account itself and its app keys"


CARGO_SCOPES = (Scope.PUBLISH_NEW, Scope.PUBLISH_UPDATE, Scope.YANK, Scope.CHANGE_OWNERS, Scope.READ)
ALL_SCOPES = tuple(Scope)

# Names of before, for scripts that make tokens.
FORMER_NAMES = {"publish": (Scope.PUBLISH_NEW, Scope.PUBLISH_UPDATE), "owners": (Scope.CHANGE_OWNERS,)}


def parse_scopes(words: Sequence[str]) -> list[Scope]:
    """Return the scopes of a cargo token by their names of today or of before, each once; raises `Invalid`."""
    if unknown := set(words).difference(CARGO_SCOPES, FORMER_NAMES):
        message = f"There is no scope {', '.join(sorted(unknown))}; there are: {', '.join(CARGO_SCOPES)}."
        raise Invalid(message, code="scope")
    scopes = [scope for word in words for scope in FORMER_NAMES.get(word) or (Scope(word),)]
    return list(dict.fromkeys(scopes))
