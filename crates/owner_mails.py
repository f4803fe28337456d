"""Mails of staff to the owners of chosen crates: one to each owner, which names the crates."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from django.db import transaction

from accounts import emails, mails
from accounts.models import User, UserQuerySet
from accounts.notifications import with_address
from crates.models import Crate, OwnerMail, Ownership
from registry_site import audit, mail, outbox
from registry_site.errors import Conflict, Invalid
from registry_site.models import OutboxEntry
from registry_site.outbox import Mail
from registry_site.rate_limits import RateLimit

KIND = "owner_mail"  # in the outbox
MAX_RECIPIENTS = 1000
MAX_NAMES = 20  # of crates, in a mail
DAILY = RateLimit(
    "owner-mails", 10, timedelta(days=1), "You wrote to owners 10 times within a day; wait {seconds} seconds.", True
)


def send(crates: Sequence[Crate], subject: str, text: str, *, actor: User) -> OwnerMail:
    """Queue a mail to each owner of the crates who has an address; nobody can switch it off.

    Raises `Invalid` for the text, for nobody to write to and for too many, `Conflict` without a mail server, and
    `TooManyRequests`.
    """
    subject, text = normalized(subject, text)
    if not mail.is_configured():
        raise Conflict("There is no mail server: set REGISTRY_EMAIL_URL first.")
    with transaction.atomic():
        User.objects.select_for_update(no_key=True).get(pk=actor.pk)  # so that two forms do not pass the limit at once
        DAILY.check_rows(OwnerMail.objects.filter(sent_by=actor), "sent_at")
        recipients = recipients_of(crates)
        owner_mail = OwnerMail.objects.create(
            subject=subject, text=text, crates=len(crates), recipients=len(recipients), sent_by=actor
        )
        outbox.add_all(
            outbox.new_entry(
                KIND,
                address,
                mailbox=emails.mailbox_of(address),
                key=str(owner_mail.pk),
                mail=owner_mail.pk,
                user=user,
                crates=names[:MAX_NAMES],
                count=len(names),
            )
            for (user, address), names in recipients.items()
        )
        detail: dict[str, Any] = {
            "mail": owner_mail.pk,
            "subject": subject,
            "recipients": len(recipients),
            "crates": len(crates),
        }
        audit.record_all([audit.new_event(actor, audit.Action.CRATE_MAIL_OWNERS, crate, **detail) for crate in crates])
    return owner_mail


def normalized(subject: str, text: str) -> tuple[str, str]:
    """Return both without blanks around them; raises `Invalid`, with the name of the field as code."""
    subject, text = subject.strip(), "\n".join(line.rstrip() for line in text.strip().splitlines())
    for field, value, longest in (
        ("subject", subject, OwnerMail.MAX_SUBJECT_LENGTH),
        ("text", text, OwnerMail.MAX_TEXT_LENGTH),
    ):
        if not 1 <= len(value) <= longest:
            raise Invalid(f"The {field} of a mail has 1 to {longest:,} characters.", code=field)
    if not subject.isprintable():
        raise Invalid("A subject is one line, without characters that do not show.", code="subject")
    if not text.replace("\n", "").replace("\t", "").isprintable():
        raise Invalid("A text has no characters that do not show, such as control characters.", code="text")
    return subject, text


def recipients_of(crates: Sequence[Crate]) -> Mapping[tuple[int, str], list[str]]:
    """Return the names of their crates by owner, as key and address; raises `Invalid` for none and for too many."""
    users = with_address(User.objects.filter(ownerships__crate__in=[crate.pk for crate in crates])).in_good_standing()
    owners = users.distinct()
    number = owners.count()
    if not number:
        raise Invalid("No owner of these crates has an address that mails may go to.")
    if number > MAX_RECIPIENTS:
        raise Invalid(f"These crates have {number:,} owners; write to at most {MAX_RECIPIENTS:,} at once.")
    owned = Ownership.objects.filter(crate__in=[crate.pk for crate in crates], user__in=owners.values("pk"))
    names: dict[tuple[int, str], list[str]] = {}
    for user, address, name in owned.order_by("crate__name").values_list("user", "user__email", "crate__name"):
        names.setdefault((user, address), []).append(name)
    return names


@outbox.mail_kind(KIND, "mail of staff to owners")
def write(entry: OutboxEntry) -> Mail | None:
    """Write the mail to one owner; None if the account is closed, or has another address now."""
    values = entry.arguments
    users: UserQuerySet = User.objects.filter(pk=values["user"], email=entry.recipient)
    user = with_address(users).in_good_standing().first()
    owner_mail = OwnerMail.objects.filter(pk=values["mail"]).first()
    if user is None or owner_mail is None:
        return None
    more = values["count"] - len(values["crates"])
    context = {"user": user, "text": owner_mail.text, "crates": values["crates"], "more": more}
    return mails.write(owner_mail.subject, "mail/owner_mail.txt", **context)
