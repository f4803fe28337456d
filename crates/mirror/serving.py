"""What cargo is shown of an entry: upstream's bytes, but for what is not to be had here or is held back."""

import hashlib
from datetime import datetime

from django.conf import settings

from crates.mirror import entries, lines
from crates.mirror.models import Archive, Entry
from registry_site.errors import Gone, Missing, Withheld

NONE = {404: Missing, 410: Gone, 451: Withheld}


def entry(path: str) -> tuple[bytes, str, datetime]:
    """The file of the index at `path`, its ETag and when it changed; raises as `entries.find` does."""
    found = entries.find(path)
    if found.status != 200:
        raise NONE.get(found.status, Missing)(entries.NOT_HERE)
    body = bytes(found.body)
    if settings.MIRROR_OFFLINE:
        body = _at_hand(found, body)
    return body, f'"{hashlib.sha256(body).hexdigest()[:32]}"', found.changed_at


def _at_hand(found: Entry, body: bytes) -> bytes:
    """Only the versions whose files are here: cargo then chooses among what it can get."""
    kept = set(Archive.objects.filter(name=found.name).values_list("version", "sha256"))
    return lines.joined([line for line in lines.parsed(body) if (line.version, line.checksum) in kept])
