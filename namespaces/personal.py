"""Personal namespaces: created with an account, renamed with it, and deleted with it."""

from typing import Any

from django.dispatch import receiver

from accounts.models import User
from accounts.signals import account_ending, account_opened, account_renamed
from namespaces.models import Membership, Namespace, Role
from namespaces.signals import namespace_renaming
from registry_site.errors import Conflict


@receiver(account_opened)
def create_personal_namespace(sender: type[User], user: User, **kwargs: Any) -> None:
    """Create the namespace of a new account; the two share one `NameReservation`."""
    namespace = Namespace.objects.create(name=user.username, reservation=user.reservation, user=user)
    Membership.objects.create(namespace=namespace, user=user, role=Role.OWNER)


@receiver(account_renamed)
def rename_personal_namespace(sender: type[User], user: User, **kwargs: Any) -> None:
    """Rename the namespace of a renamed account; raises whatever a receiver of `namespace_renaming` raises."""
    namespace = Namespace.objects.for_update().get(user=user)
    namespace_renaming.send(sender=Namespace, namespace=namespace)
    namespace.name, namespace.reservation = user.username, user.reservation
    namespace.save(update_fields=["name", "reservation"])


@receiver(account_ending)
def refuse_end_of_members(sender: type[User], user: User, **kwargs: Any) -> None:
    """Raise `Conflict` if the account is a member of a shared namespace, which may have no other owner."""
    if Membership.objects.filter(user=user).exclude(namespace__user=user).exists():
        raise Conflict(f"{user} is a member of a namespace.")
