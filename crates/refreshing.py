"""Facts of versions that were published under older rules: read from the stored `.crate` files, one after another."""

import shutil
from collections.abc import Iterator

from django.db import transaction

from crates import search, version_facts
from crates.models import Crate, UnrenderedReadme, Version, VersionContents
from crates.package import archive, facts, manifest
from crates.package.facts import Facts
from registry_site import audit, markdown
from registry_site.errors import Invalid, Lost
from registry_site.storage import blobs, free_space

PAGE_SIZE = 100
ACTOR = "manage.py refreshcrates"


def count_versions(*, everything: bool) -> int:
    return Version.objects.filter(examined__lt=facts.REVISION + everything).count()


def pages(*, everything: bool) -> Iterator[list[Version]]:
    """Yield lists of the versions to be read, all or those of older rules, as they are when a list begins."""
    versions = Version.objects.filter(examined__lt=facts.REVISION + everything).select_related("crate")
    columns = ("number", "checksum", "size", "repository", "description", "keywords", "categories", "examined")
    last = 0
    # By primary key: versions that were published meanwhile have their facts.
    while page := list(versions.filter(pk__gt=last).order_by("pk").only(*columns, "crate__name")[:PAGE_SIZE]):
        yield page
        last = page[-1].pk


def refresh(version: Version) -> bool:
    """Store the facts of a version; return False if it has changed or is gone meanwhile, as by a second run.

    Raises `Lost` and `Invalid` for bytes that are gone or damaged, and `Unavailable` if no more can be read at present.
    """
    try:
        read = read_stored(version)
    except Lost:
        if Version.objects.filter(pk=version.pk).exists():
            raise
        return False
    former = version.examined
    version_facts.assign(version, read)
    contents = version_facts.new_contents(read)
    if read.readme_text:
        contents.readme_html = markdown.render_readme(
            read.readme_text, version_facts.readme_path(read), version.repository
        )
    words = search.words_of(version.crate.name, version, contents.readme_text)
    with transaction.atomic():
        # The crate's row first, as each change of a version has it.
        crate = Crate.objects.for_update().filter(pk=version.crate_id).first()
        columns = {column: getattr(version, column) for column in version_facts.COLUMNS}
        if crate is None or not Version.objects.filter(pk=version.pk, examined=former).update(**columns):
            return False
        texts = {column: getattr(contents, column) for column in version_facts.CONTENTS_COLUMNS}
        UnrenderedReadme.objects.filter(contents__version=version).delete()  # first, as the rendering has it
        VersionContents.objects.update_or_create(version=version, defaults=texts)
        if crate.default_version_id == version.pk:
            crate.default_version = version
            search.update_words(crate, words)
    return True


def read_stored(version: Version) -> Facts:
    """Read the facts of a version from its file; raises `Lost`, `Invalid` and `Unavailable`."""
    with free_space.TemporaryFile() as file:
        with blobs.Blob(version.checksum, version.size).read() as content:
            shutil.copyfileobj(content, file, blobs.CHUNK_SIZE)
        if blobs.sha256_of(file) != version.checksum:
            raise Invalid("The stored bytes are damaged.")
        file.seek(0)
        contents = archive.read(file, version.size, f"{version.crate.name}-{version.number}")
        return facts.read(manifest.parse_toml(contents.cargo_toml), contents, file, version.size)


def record(refreshed: int) -> None:
    """Record that so many versions have new facts."""
    audit.record(ACTOR, audit.Action.CRATE_REFRESH, "facts of versions", refreshed=refreshed)
