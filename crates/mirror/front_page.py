"""The mirror on the front page of the admin site: incidents, upstreams, hits, what is held back, and what is stored."""

from collections.abc import Iterator
from typing import Any

from django.conf import settings
from django.core.cache import cache
from django.db.models import Count, Sum

from crates.mirror import metrics, policies
from crates.mirror.models import CachedCrate, CachedIndexFile, Incident, IndexSummary, Override, UpstreamHealth
from registry_site.admin import front_page
from registry_site.admin.front_page import Fact, Notice, when
from registry_site.admin.object_pages import list_url
from registry_site.templatetags.figures import size

TEXTS = {
    Incident.Kind.CHANGED: "of changed checksums in the mirror",
    Incident.Kind.WRONG_BYTES: "of wrong bytes from an upstream",
    Incident.Kind.REFUSED_ARCHIVE: "of archives that the mirror refuses",
    Incident.Kind.DAMAGED: "of damaged bytes in the mirror",
    Incident.Kind.FAULT: "of failing upstreams",
}
SECONDS = 60  # for which the sum over all stored crates is kept, in each worker


@front_page.add("mirror.view_incident", "Mirror")
def open_incidents() -> Iterator[Notice]:
    """Yield the incidents that staff have not settled, by kind; wrong bytes are more urgent than faults."""
    for kind, text in TEXTS.items():
        unsettled = Incident.objects.filter(settled_at=None, kind=kind)
        url = list_url(Incident, settled_at__isempty="1", kind__exact=kind)
        yield Notice(unsettled, f"open incident{{s}} {text}", url, is_urgent=kind != Incident.Kind.FAULT)


@front_page.add("mirror.view_cachedindexfile", "Mirror")
def health() -> Iterator[Notice | Fact]:
    """Yield what is in force, how upstreams answer, and what is stored."""
    if not settings.MIRROR:
        yield Fact("Mirror", "off (REGISTRY_MIRROR)")
        return
    if settings.MIRROR_OFFLINE:
        yield Fact("Upstreams", "none is asked (REGISTRY_MIRROR_OFFLINE)")
    else:
        yield from health_of_upstreams()
    yield Fact("Served from the cache", " and ".join(hit_rate(kind, noun) for kind, noun in NOUNS) + SINCE_START)
    yield Fact("Policies in force", "; ".join(policies.describe()) or "none")
    if youngest := policies.youngest_allowed():
        young = IndexSummary.objects.filter(updated_at__gt=youngest)
        url = list_url(CachedIndexFile, held_back="age")
        yield Fact("Crates with versions held back for their age", "{number}", url, young)
    if others := policies.other_than_age():
        text = f"not counted: by {', '.join(others)}. The page of each crate says which of its versions, and why."
        yield Fact("Crates with versions held back otherwise", text)
    number, total = stored_crates()
    yield Fact("Stored files", f"{number:,}, {size(total)}", list_url(CachedCrate))
    yield Fact("Mirrored crates", "{number}", list_url(CachedIndexFile), CachedIndexFile.objects.filter(status=200))


def health_of_upstreams() -> Iterator[Notice | Fact]:
    """Yield when each upstream answered last, and which of them fail."""
    rows = UpstreamHealth.objects.in_bulk(settings.MIRROR_UPSTREAM)
    for url in settings.MIRROR_UPSTREAM:
        row = rows.get(url) or UpstreamHealth(url=url)
        answered = f"answered {when(row.answered_at)}" if row.answered_at else "has not answered yet"
        failed = f"; failed {when(row.failed_at)}: {row.failure}" if row.failed_at and row.is_failing else ""
        yield Fact(url, answered + failed)
        faults = list_url(Incident, kind__exact=Incident.Kind.FAULT, q=url)
        yield Notice(int(row.is_failing), f"upstream that fails: {url}", faults, is_urgent=True)


NOUNS = (("index", "index files"), ("crate", "crates"))
SINCE_START = " (of this server, since its start)"


def hit_rate(kind: str, noun: str) -> str:
    """Return the share of requests that needed no answer of upstream."""
    total = sum(metrics.requests.value(kind, outcome) for outcome in metrics.OUTCOMES)
    hits = metrics.requests.value(kind, "hit")
    return f"{hits / total:.0%} of {total:,} {noun}" if total else f"no {noun} requested"


def stored_crates() -> tuple[int, int]:
    """Return how many crates are stored, and their bytes; counted anew once a minute."""
    rows = CachedCrate.objects
    sums: Any = cache.get_or_set("stored_crates", lambda: rows.aggregate(n=Count("pk"), bytes=Sum("size")), SECONDS)
    return sums["n"], sums["bytes"] or 0


@front_page.add("mirror.view_override", "Mirror")
def active_overrides() -> Iterator[Fact]:
    """Yield how many decisions of staff are in force."""
    for kind, label in ((Override.Kind.BLOCKED, "Blocked by staff"), (Override.Kind.EXEMPT, "Exempt from policies")):
        url = list_url(Override, ended_at__isempty="1", kind__exact=kind)
        yield Fact(label, "{number}", url, Override.objects.active().filter(kind=kind))
