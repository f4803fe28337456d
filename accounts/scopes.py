"""What a credential can allow."""

from django.db.models import TextChoices


class Scope(TextChoices):
    """The first four in the words of cargo's credential protocol."""

    READ = "read"
    PUBLISH = "publish"
    YANK = "yank"
    OWNERS = "owners"
    MANAGE = "manage"  # namespaces, members and collaborators
    ACCOUNT = "account"  # the account itself and its app keys


CARGO = (Scope.READ.value, Scope.PUBLISH.value, Scope.YANK.value, Scope.OWNERS.value)
ALL = tuple(Scope.values)
