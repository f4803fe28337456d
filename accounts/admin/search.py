"""Users and tokens in the search of the admin site."""

from collections.abc import Iterator

from django.conf import settings
from django.db.models.functions import Lower

from accounts import names
from accounts.models import Credential, Identity, NameReservation, User
from registry_site.admin.search import Rows, add
from registry_site.search.prefixes import begins


@add("accounts.view_user")
def find_users(text: str) -> Iterator[Rows]:
    """Yield users by name, former name, e-mail address, and subject at the OpenID provider."""
    name = names.canonical(names.strip_ktra_prefix(text))
    yield Rows(
        "Users", User.objects.filter(begins("reservation__name", name)), "username", "email", "reservation__name"
    )
    # The index leaves out empty addresses: without the same condition, it would not be used.
    with_email = User.objects.exclude(email="").alias(lower_email=Lower("email"))
    yield Rows("Users", with_email.filter(begins("lower_email", text.lower())), "username", "email", "lower_email")
    former = NameReservation.objects.filter(begins("name", name)).exclude(former_user=None)
    renamed = User.objects.filter(pk__in=former.order_by("name").values("former_user")[:10])
    yield Rows("Users who were called so", renamed, "username", has_list=False)
    if settings.OIDC_ISSUER:
        identified = Identity.objects.filter(issuer=settings.OIDC_ISSUER, subject=text)
        users = User.objects.filter(pk__in=identified.values("user"))
        yield Rows("Users of an identity", users, "username", "email", has_list=False)


@add("accounts.view_credential")
def find_tokens(text: str) -> Iterator[Rows]:
    """Yield cargo tokens and app keys by name; default tokens all have the same."""
    tokens = Credential.objects.of_kind(*Credential.NAMED_KINDS).exclude(name=Credential.DEFAULT_NAME)
    yield Rows("Tokens and app keys", tokens.filter(begins("name", text)), "name", "user__username")
