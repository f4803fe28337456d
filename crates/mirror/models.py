"""What was fetched from upstream, and what staff have decided about it."""

from typing import Self

from django.db import models
from django.db.models import Q
from django.utils import timezone

from accounts.models import User
from registry_site.storage.blobs import Blob

STORE = "mirror"  # of its own, for its bytes can be had again, and are deleted in time


class Entry(models.Model):
    """The index file of one crate, byte by byte as upstream has it, or that there is none."""

    path = models.CharField(max_length=80, unique=True, help_text="In the index, such as se/rd/serde.")
    name = models.CharField(max_length=64, db_index=True, help_text="In lower case.")
    upstream = models.CharField(max_length=500, blank=True, help_text="Index URL of the upstream that has it.")
    status = models.PositiveSmallIntegerField(help_text="200, or why there is none: 404, 410, 451.")
    body = models.BinaryField(default=b"")
    etag = models.CharField(max_length=200, blank=True, help_text="Upstream's, to ask again with.")
    last_modified = models.CharField(max_length=100, blank=True)
    checksums = models.JSONField(default=dict, help_text="Of each version, as it was first seen.")
    changed_at = models.DateTimeField(default=timezone.now)
    checked_at = models.DateTimeField(default=timezone.now, db_index=True, help_text="When upstream said so last.")

    class Meta:
        ordering = ("path",)
        verbose_name_plural = "entries"

    def __str__(self) -> str:
        return self.name


class Archive(models.Model):
    """A `.crate` file that was fetched, and is what the index says."""

    name = models.CharField(max_length=64, help_text="In lower case.")
    version = models.CharField(max_length=150)
    sha256 = models.CharField("SHA-256", max_length=64)
    size = models.BigIntegerField(help_text="In bytes.")
    license = models.CharField(max_length=255, blank=True, help_text="As its Cargo.toml says it.")
    upstream = models.CharField(max_length=500, blank=True)
    fetched_at = models.DateTimeField(default=timezone.now)
    asked_at = models.DateTimeField(default=timezone.now, help_text="To the day.")

    class Meta:
        ordering = ("name", "version")
        constraints = [models.UniqueConstraint(fields=["name", "version", "sha256"], name="each_archive_once")]
        indexes = [models.Index(fields=["asked_at"], name="archives_by_use")]

    def __str__(self) -> str:
        return f"{self.name}@{self.version}"

    def blob(self) -> Blob:
        return Blob(self.sha256, self.size, STORE)


class Incident(models.Model):
    """Something about upstream that staff should look at; the same again is counted."""

    class Kind(models.TextChoices):
        CHANGED = "changed", "a checksum changed"
        WRONG_BYTES = "wrong_bytes", "other bytes than the index says"
        FAULT = "fault", "no answer, or not as it should be"

    kind = models.CharField(max_length=16, choices=Kind)
    subject = models.CharField(
        max_length=300, help_text="A crate, with its version if it is about one; or an upstream."
    )
    detail = models.CharField(max_length=500)
    count = models.PositiveIntegerField(default=1)
    first_at = models.DateTimeField(default=timezone.now)
    last_at = models.DateTimeField(default=timezone.now)
    settled_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ("-last_at",)
        constraints = [
            models.UniqueConstraint(
                fields=["kind", "subject"], condition=Q(settled_at=None), name="one_open_incident_of_a_kind"
            )
        ]

    def __str__(self) -> str:
        return f"{self.subject}: {self.get_kind_display()}"


class DecisionQuerySet(models.QuerySet["Decision"]):
    def in_force(self) -> Self:
        return self.filter(Q(until=None) | Q(until__gt=timezone.now()), ended_at=None)


class Decision(models.Model):
    """What staff have decided about some versions of a crate, whatever the policies say."""

    class Verdict(models.TextChoices):
        BLOCKED = "blocked", "blocked: nobody gets them, not even locked builds"
        EXEMPT = "exempt", "exempt from the policies"

    verdict = models.CharField(max_length=16, choices=Verdict)
    name = models.CharField("crate", max_length=64, help_text="In any spelling.")
    requirement = models.CharField(
        "versions", max_length=200, default="*", help_text="As in a Cargo.toml: *, =1.2.3, or >=1, <1.4."
    )
    reason = models.CharField(max_length=500, help_text="Whoever wants them is told so.")
    until = models.DateTimeField(null=True, blank=True, help_text="Empty: until it is ended.")
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    created_by = models.ForeignKey(
        User, null=True, blank=True, editable=False, on_delete=models.SET_NULL, related_name="+"
    )
    ended_at = models.DateTimeField(null=True, blank=True, editable=False)

    objects = DecisionQuerySet.as_manager()

    class Meta:
        ordering = ("-created_at",)
        indexes = [models.Index(fields=["name"], name="decisions_not_ended", condition=Q(ended_at=None))]

    def __str__(self) -> str:
        return f"{self.name}@{self.requirement}: {self.verdict}"
