"""Names of crates that exist here and upstream: the mirror serves upstream's, and a publish of a new one is refused."""

from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from fnmatch import fnmatchcase
from itertools import combinations, islice, product

from django.conf import settings
from django.core.cache import caches
from django.db import IntegrityError, transaction
from django.db.models import QuerySet

from accounts.models import User
from crates import names
from crates.mirror import concurrency, index_lines, upstreams
from crates.mirror.models import ABSENCE_TTL, CANONICAL_NAME, AllowedName, CachedIndexFile
from crates.mirror.upstreams import NO_HEADERS, UpstreamFault
from crates.models import Crate
from registry_site import audit
from registry_site.compiled_queries import compiled
from registry_site.errors import Conflict, Invalid, NotFound, UpstreamError
from registry_site.upstream_limiter import limiter

MAX_SPELLINGS = 16  # all of a name with four hyphens or underscores
FAULT_KEY = "name-fault"
FAULT_SECONDS = 30  # in which no other publish waits for an upstream that has failed or was slow

lookups = concurrency.BackgroundTasks[bool | None](threads=4)
_requests = ThreadPoolExecutor(8, thread_name_prefix="name")  # one after another, sixteen would take too long


# --- Publishes and the mirror's requests --------------------------------------------------------------------------


def check_new_name(name: str, publisher: User) -> Crate.Upstream:
    """Return whether upstream has the name of a new crate; raises `Conflict` if so, unless the publisher may have it.

    An upstream that fails or is slow refuses nothing.
    """
    upstream = look_up(name)
    if upstream != Crate.Upstream.HAS or settings.PUBLISH_UPSTREAM_NAMES or not settings.MIRROR:
        return upstream
    if not AllowedName.objects.filter(name=names.canonical(name), user=publisher).exists():
        raise Conflict(
            f"the crate, {name}, exists upstream, and this registry mirrors it; choose another name, or ask staff to "
            f"allow {publisher} this one (allowed names in the admin site, or REGISTRY_PUBLISH_UPSTREAM_NAMES=1)."
        )
    return upstream


def refuse_own_name(name: str) -> None:
    """Raise `NotFound` for a name that exists here alone: the mirror must not ask upstream for it.

    Asking would give the name away, and a stranger who publishes it upstream would get into builds of ours.
    """
    crate = refuse_unserved_name(name)
    if crate is not None and crate.upstream == Crate.Upstream.UNKNOWN:
        # Upstream did not answer when the crate was published, so ask again.
        crate.upstream = look_up(crate.name)
        if crate.upstream != Crate.Upstream.UNKNOWN:
            unknown = Crate.with_removed.filter(pk=crate.pk, upstream=Crate.Upstream.UNKNOWN)
            unknown.update(upstream=crate.upstream)
        refuse_crate_of_ours(crate)


def refuse_unserved_name(name: str) -> Crate | None:
    """Raise `NotFound` for a name that the mirror does not serve, as far as it is known without asking upstream.

    Return the crate of this name here, if there is one.
    """
    if is_private(name):
        raise NotFound(
            upstreams.no_such_crate(
                "its name is private to this registry (REGISTRY_PRIVATE_NAMES), so upstream is never asked for it"
            )
        )
    crate = Crate.with_removed.named(name).only("name", "upstream").first()
    if crate is not None:
        refuse_crate_of_ours(crate)
    return crate


def unserved_names(canonical: Collection[str]) -> set[str]:
    """Return those canonical names that `refuse_unserved_name` refuses."""
    ours = Crate.with_removed.filter(canonical_name__in=canonical, upstream=Crate.Upstream.LACKS)
    return {name for name in canonical if is_private(name)} | set(ours.values_list("canonical_name", flat=True))


def refuse_crate_of_ours(crate: Crate) -> None:
    if crate.upstream == Crate.Upstream.LACKS:
        raise NotFound(
            upstreams.no_such_crate(
                f"{crate.name} is a crate of this registry itself, in {settings.PUBLIC_URL}/index/, so upstream is "
                "never asked for it"
            )
        )


def is_private(name: str) -> bool:
    canonical = names.canonical(name)
    return any(fnmatchcase(canonical, names.canonical(pattern)) for pattern in settings.PRIVATE_NAMES)


# --- What upstream has --------------------------------------------------------------------------------------------


def look_up(name: str) -> Crate.Upstream:
    """Return whether the mirror or its upstream has a crate of this name, in any spelling."""
    canonical = names.canonical(name)
    if is_private(name):
        return Crate.Upstream.LACKS
    if _mirrored_file(canonical):
        return Crate.Upstream.HAS
    if not settings.MIRROR:
        return Crate.Upstream.LACKS
    has_name = None if settings.MIRROR_OFFLINE else _ask(canonical)
    if has_name is None:
        return Crate.Upstream.UNKNOWN
    return Crate.Upstream.HAS if has_name else Crate.Upstream.LACKS


@compiled
def _mirrored_file(canonical_name: str) -> QuerySet[CachedIndexFile, int]:
    rows = CachedIndexFile.objects.alias(canonical_name=CANONICAL_NAME)
    return rows.filter(canonical_name=canonical_name, status=200).order_by().values_list("pk", flat=True)[:1]


def _ask(canonical: str) -> bool | None:
    """Return whether any upstream has the name; None when it fails or takes longer than a publisher should wait."""
    if not settings.MIRROR_UPSTREAM:
        return False
    cache = caches["mirror"]
    key = f"name-{canonical}"
    has_name: bool | None = cache.get(key)
    if has_name is not None or cache.get(FAULT_KEY):
        return has_name
    try:
        with limiter.slot(concurrency.MIRROR):
            has_name = lookups.result(canonical, lambda: _search(canonical))
    except UpstreamError:  # as many requests as may wait for upstream do so
        return None
    if has_name is None:
        cache.set(FAULT_KEY, True, FAULT_SECONDS)
    else:
        cache.set(key, has_name, ABSENCE_TTL.total_seconds())
    return has_name


def _search(canonical: str) -> bool | None:
    """Ask all upstreams for all spellings of a name; return None after a fault. Uses no database: it is in a thread."""

    def has_spelling(upstream: upstreams.Upstream, spelling: str) -> bool:
        response = upstream.fetch_index_file(names.index_path(spelling), NO_HEADERS)
        # A page for all paths, such as that of a proxy, must not refuse a publish: it has no versions.
        return response.status == 200 and any(line.version for line in index_lines.parse(response.body))

    pairs = [*product(upstreams.configured_upstreams(), spellings(canonical))]
    try:
        return any(_requests.map(has_spelling, *zip(*pairs, strict=True)))
    except UpstreamFault:
        return None


def spellings(canonical: str) -> list[str]:
    """Return the spellings of a name, at most `MAX_SPELLINGS`: those first that mix hyphens and underscores least."""
    places = [position for position, letter in enumerate(canonical) if letter == "_"]

    def generate() -> Iterator[str]:
        for count in range(len(places) // 2 + 1):
            for chosen in combinations(places, count):
                for usual, other in ("_-", "-_"):
                    letters = list(canonical.replace("_", usual))
                    for position in chosen:
                        letters[position] = other
                    yield "".join(letters)

    return list(dict.fromkeys(islice(generate(), 2 * MAX_SPELLINGS)))[:MAX_SPELLINGS]


# --- Decisions of staff -------------------------------------------------------------------------------------------


def allow(name: str, user: User, *, actor: User | None) -> AllowedName:
    """Allow an account to publish a name that upstream has; raises `Invalid` and `Conflict`."""
    if not index_lines.NAME.fullmatch(name):
        raise Invalid(f"{name[:80]!r} is no name of a crate.")
    canonical = names.canonical(name)
    try:
        with transaction.atomic():
            allowed = AllowedName.objects.create(name=canonical, user=user, allowed_by=actor)
            audit.record(actor, audit.Action.MIRROR_ALLOW_NAME, canonical, row=allowed, user=str(user))
    except IntegrityError as error:
        raise Conflict(f"The name {canonical} is allowed already.") from error
    return allowed


def disallow(allowed: AllowedName, *, actor: User | None) -> bool:
    """End the permission to publish a name; return False if it had ended before. Crates stay as they are."""
    with transaction.atomic():
        deleted, _ = AllowedName.objects.filter(pk=allowed.pk).delete()
        if deleted:
            audit.record(actor, audit.Action.MIRROR_DISALLOW_NAME, allowed.name, row=allowed)
    return bool(deleted)


def set_served(crates: QuerySet[Crate], *, served: bool, actor: User | None) -> int:
    """Let the mirror serve upstream's crates of these names, or never ask for them; return how many have changed."""
    upstream = Crate.Upstream.HAS if served else Crate.Upstream.LACKS
    action = audit.Action.MIRROR_SERVE_NAME if served else audit.Action.MIRROR_HIDE_NAME
    with transaction.atomic():
        changed = list(crates.exclude(upstream=upstream).order_by("pk").select_for_update(no_key=True))
        Crate.with_removed.filter(pk__in=[crate.pk for crate in changed]).update(upstream=upstream)
        audit.record_all([audit.new_event(actor, action, crate) for crate in changed])
    return len(changed)
