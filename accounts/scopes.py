"""Scopes: the actions that a credential can allow."""

from django.db.models import TextChoices


class Scope(TextChoices):
    """The first four are the scopes of cargo's credential protocol."""

    READ = "read"
    PUBLISH = "publish"
    YANK = "yank"
    OWNERS = "owners"
    MANAGE = "manage"  # namespaces, members and collaborators
    ACCOUNT = "account"  # the account itself and its app keys


CARGO_SCOPES = (Scope.READ, Scope.PUBLISH, Scope.YANK, Scope.OWNERS)
ALL_SCOPES = tuple(Scope)
