"""Crates, their versions and who owns them. Rows are the truth; the index text is derived from them."""

from typing import Self

from django.db import models
from django.db.models import Case, IntegerField, Q, Value, When
from django.utils import timezone

from accounts.models import User
from crates import names


class CrateQuerySet(models.QuerySet["Crate"]):
    def named(self, name: str) -> Self:
        """The crate of this name: case does not count, and `-` is `_`."""
        return self.filter(canonical_name=names.canonical(name))

    def usable(self) -> Self:
        """Those with a version that is not yanked."""
        return self.exclude(newest=None)

    def matching(self, text: str) -> Self:
        """Those that have every word of `text` in name, description or keywords; the best first."""
        words = [names.canonical(word) for word in text.split()]
        wanted = "_".join(words)
        found = self.filter(*(Q(search_text__contains=word) for word in words))
        rank = Case(
            When(canonical_name=wanted, then=Value(0)),
            When(canonical_name__startswith=wanted, then=Value(1)),
            When(canonical_name__contains=wanted, then=Value(2)),
            default=Value(3),
            output_field=IntegerField(),
        )
        return found.order_by(rank, "canonical_name")


class Crate(models.Model):
    """A name, and what the index says of it, ready to send."""

    name = models.CharField(max_length=64, help_text="As it was first published.")
    canonical_name = models.CharField(max_length=64, editable=False)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    owners = models.ManyToManyField(User, through="Ownership", through_fields=("crate", "user"), related_name="crates")

    # Derived from the versions by `publishing.settle`, in the transaction that changes one.
    newest = models.ForeignKey("Version", null=True, editable=False, on_delete=models.SET_NULL, related_name="+")
    search_text = models.TextField(editable=False, default="")
    index_path = models.CharField(max_length=80, editable=False)
    index_text = models.TextField(editable=False, default="")
    index_etag = models.CharField(max_length=70, editable=False, default="")
    index_modified = models.DateTimeField(editable=False, default=timezone.now)

    objects = CrateQuerySet.as_manager()

    class Meta:
        ordering = ("canonical_name",)
        constraints = [
            models.UniqueConstraint(fields=["canonical_name"], name="one_crate_per_canonical_name"),
            models.UniqueConstraint(fields=["index_path"], name="one_crate_per_index_path"),
        ]

    def __str__(self) -> str:
        return self.name


class Version(models.Model):
    """What was published; nothing but `yanked` ever changes."""

    crate = models.ForeignKey(Crate, on_delete=models.PROTECT, related_name="versions")
    number = models.CharField(max_length=150)
    release = models.CharField(max_length=150, editable=False, help_text="The number without build metadata.")
    checksum = models.CharField(max_length=64, help_text="SHA-256 of the .crate file.")
    size = models.PositiveIntegerField(help_text="Bytes of the .crate file.")
    published_by = models.ForeignKey(User, on_delete=models.PROTECT, related_name="published_versions")
    published_at = models.DateTimeField(default=timezone.now)
    yanked = models.BooleanField(default=False)

    dependencies = models.JSONField(default=list, help_text="In the form of the index.")
    features = models.JSONField(default=dict)
    links = models.CharField(max_length=255, blank=True)
    rust_version = models.CharField(max_length=64, blank=True)

    description = models.TextField(blank=True)
    license = models.CharField(max_length=255, blank=True)
    homepage = models.CharField(max_length=2000, blank=True)
    repository = models.CharField(max_length=2000, blank=True)
    documentation = models.CharField(max_length=2000, blank=True)
    keywords = models.JSONField(default=list)
    categories = models.JSONField(default=list)

    class Meta:
        ordering = ("-published_at", "-pk")
        constraints = [models.UniqueConstraint(fields=["crate", "release"], name="one_version_per_release")]
        indexes = [models.Index(fields=["published_by", "published_at"], name="version_by_publisher_and_time")]

    def __str__(self) -> str:
        return f"{self.crate}@{self.number}"


class Ownership(models.Model):
    """Who may publish, yank and name owners."""

    crate = models.ForeignKey(Crate, on_delete=models.CASCADE, related_name="ownerships")
    user = models.ForeignKey(User, on_delete=models.PROTECT, related_name="ownerships")
    added_by = models.ForeignKey(User, null=True, editable=False, on_delete=models.SET_NULL, related_name="+")
    added_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        ordering = ("pk",)
        constraints = [models.UniqueConstraint(fields=["crate", "user"], name="each_owner_once_per_crate")]

    def __str__(self) -> str:
        return f"{self.user} owns {self.crate}"
