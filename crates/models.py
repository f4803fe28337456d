"""Crates, their versions and their owners. Rows are the truth; the index text is derived from them."""

from typing import Self

from django.db import models
from django.utils import timezone

from accounts.models import User
from crates import names


class CrateQuerySet(models.QuerySet["Crate"]):
    def named(self, name: str) -> Self:
        """Select the crate of this name; case, `-` and `_` do not count."""
        return self.without_large_columns().filter(canonical_name=names.canonical(name))

    def without_large_columns(self) -> Self:
        """Leave the index text, which can have megabytes, to the code that reads it."""
        return self.defer(*Crate.LARGE_COLUMNS)

    def usable(self) -> Self:
        """Select the crates with a version that is not yanked."""
        return self.exclude(newest=None)

    def for_update(self) -> Self:
        """Lock the selected rows until the transaction ends."""
        # Primary keys never change, so that other rows may refer to the crate meanwhile (FOR NO KEY UPDATE).
        return self.without_large_columns().select_for_update(no_key=True)


class Crate(models.Model):
    """A crate and its index file, ready to send."""

    LARGE_COLUMNS = ("index_text", "search_text")  # megabytes in the worst case; lists leave them out

    class Upstream(models.TextChoices):
        LACKS = "lacks", "lacks the name; the mirror never asks for it"
        HAS = "has", "has a crate of this name, too, which the mirror serves"
        UNKNOWN = "unknown", "has not answered yet"

    name = models.CharField(max_length=64, help_text="As it was first published.")
    canonical_name = models.CharField(max_length=64, editable=False)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    upstream = models.CharField(
        max_length=16, choices=Upstream, default=Upstream.LACKS, editable=False, help_text="At the first publish."
    )
    owners = models.ManyToManyField(User, through="Ownership", through_fields=("crate", "user"), related_name="crates")

    # Derived from the versions by `crates.derived_fields`, in the transaction that changes one.
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
    """A published version. Only `yanked` ever changes, and no version is ever deleted."""

    LARGE_COLUMNS = ("dependencies", "features", "license", "links")  # lists leave them out

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
    links = models.TextField(blank=True)
    rust_version = models.CharField(max_length=64, blank=True)

    description = models.TextField(blank=True)
    license = models.TextField(blank=True)
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
    """The right of a user to publish versions of a crate, to yank them and to change the owners."""

    crate = models.ForeignKey(Crate, on_delete=models.CASCADE, related_name="ownerships")
    user = models.ForeignKey(User, on_delete=models.PROTECT, related_name="ownerships")
    added_by = models.ForeignKey(User, null=True, editable=False, on_delete=models.SET_NULL, related_name="+")
    added_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        ordering = ("pk",)
        constraints = [models.UniqueConstraint(fields=["crate", "user"], name="each_owner_once_per_crate")]

    def __str__(self) -> str:
        return f"{self.user} owns {self.crate}"
