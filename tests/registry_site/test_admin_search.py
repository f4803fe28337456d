"""One search over everything in the admin: staff find a row of any kind by what they know of it."""

from typing import Any
from uuid import uuid4

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts import registration
from accounts.credentials import cargo_tokens
from accounts.models import User
from crates.mirror import index_cache
from crates.mirror.models import CachedCrate, Incident
from files.models import Client as Machine
from files.models import File
from packages.models import Package
from packages.names import columns
from registry_site import audit
from registry_site.admin import search
from registry_site.logs import request_id
from registry_site.models import Action, StaffRun
from tests.support.admin import hire, sign_in_to_admin
from tests.support.cast import PASSWORD
from tests.support.crate_rows import Listing, create_crates

CHECKSUM = "0" * 64  # of the versions of `create_crates`
STORED = "ab" * 32


@pytest.fixture
def world(alice: User) -> User:
    """A row of each kind, most of which begin with `ha`."""
    User.objects.filter(pk=alice.pk).update(email="Alice.Liddell@example.com")
    registration.register("harry", PASSWORD)
    create_crates([Listing("Harbour_core"), Listing("harbour-core-macros")], alice)
    cargo_tokens.create(alice, "hawk-ci")
    line = f'{{"name":"hashbrown","vers":"1.0.0","cksum":"{CHECKSUM}"}}\n'
    index_cache.store("ha/sh/hashbrown", "https://index.example.com/", line.encode())
    CachedCrate.objects.create(name="hashbrown", version="1.0.0", sha256=STORED, size=1)
    Incident.objects.create(kind=Incident.Kind.FAULT, subject="hashbrown", detail="it hangs")
    Package.objects.create(namespace=alice.namespace, field="java", **columns("hammer"))
    Machine.objects.create(name="harwich")
    now = timezone.now()
    File.objects.create(serve_path="hail/today.txt", path="/srv/hail", size=1, uploaded_at=now, modified_at=now)
    token = request_id.set("0123456789abcdef")
    audit.record(alice, Action.USER_CHANGE, alice)
    request_id.reset(token)
    return alice


def hits(user: User, text: str) -> dict[str, list[str]]:
    return {group.title: [hit.text for hit in group.hits] for group in search.find(user, text)}


def test_search_knows_each_kind_of_row(world: User, root: User) -> None:
    expected: dict[str, dict[str, list[str]]] = {
        "ALICE": {"Users": ["alice"], "Namespaces": ["alice"]},
        "ktra-secure-auth:alice": {"Users": ["alice"]},
        "alice.liddell@": {"Users": ["alice"]},
        "harry": {"Users": ["harry"], "Namespaces": ["harry"]},
        "harbour-core": {"Crates": ["Harbour_core", "harbour-core-macros"]},
        "harbour_core@1": {"Versions": ["Harbour_core@1.0.0"]},
        CHECKSUM: {"Versions of a checksum": ["Harbour_core@1.0.0", "harbour-core-macros@1.0.0"]},
        CHECKSUM[:9].upper(): {"Versions of a checksum": ["Harbour_core@1.0.0", "harbour-core-macros@1.0.0"]},
        STORED: {"Stored files of the mirror": ["hashbrown@1.0.0"]},
        "hawk": {"Tokens and app keys": ["hawk-ci"]},
        "HashBrown": {"Mirrored crates": ["hashbrown"]},
        "hashb": {"Mirrored crates": ["hashbrown"], "Incidents": ["hashbrown"]},
        "hammer": {"Packages": ["hammer"]},
        "harwich": {"Machines": ["harwich"]},
        "hail/": {"Files": ["hail/today.txt"]},
        "/srv/h": {"Files": ["hail/today.txt"]},
        str(File.objects.get().pk): {"Files of a number": ["hail/today.txt"]},
        "0123456789abcdef": {"Events of a request": ["user.change"]},
        "default": {},
        "%": {},
        "junk \U0001f600": {},
    }
    assert {text: hits(root, text) for text in expected} == expected


def test_hits_lead_to_their_pages(world: User, root: User, as_root: Client) -> None:
    urls = [hit.url for group in search.find(root, "ha") for hit in group.hits]
    assert len(urls) == 10
    assert [url for url in urls if as_root.get(url).status_code != 200] == []


def test_exact_match_precedes_longer_ones(root: User) -> None:
    for name in ("bobby", "bob", "bobo"):
        registration.register(name, PASSWORD)
    assert hits(root, "bob")["Users"] == ["bob", "bobo", "bobby"]


def test_id_leads_to_its_run(root: User, as_root: Client) -> None:
    run = StaffRun.objects.create(label="Ban", action="ban", actor_name="root", reason="spam", total=0)
    for text in (str(run.pk), run.pk.hex):
        (group,) = search.find(root, text)
        assert as_root.get(group.hits[0].url).status_code == 200
    assert search.find(root, str(uuid4())) == []


def test_long_group_leads_to_the_list(as_root: Client, root: User, alice: User) -> None:
    create_crates([Listing(f"tool{number:02}") for number in range(12)], alice)
    (group,) = search.find(root, "tool")
    assert (len(group.hits), group.hits[0].text) == (10, "tool00")
    assert as_root.get(group.more).context["cl"].result_count == 12


def test_search_shows_only_what_one_may_view(world: User) -> None:
    onlooker = hire("onlooker", "view_crate")
    page = sign_in_to_admin(onlooker).get("/admin/search/?q=ha")
    assert {group.title for group in page.context["groups"]} == {"Crates"}


def test_search_asks_the_database_once(world: User, as_root: Client) -> None:
    with CaptureQueriesContext(connection) as queries:
        page = as_root.get("/admin/search/?q=ha").content.decode()
    assert "hashbrown" in page
    assert len([query for query in queries.captured_queries if "UNION ALL" in query["sql"]]) == 1
    assert len(queries) < 6


@pytest.mark.only_sqlite
def test_search_scans_no_table(world: User, root: User) -> None:
    for text in ("ha", CHECKSUM, "12345678"):
        parts = [part for _, finder in search.finders for part in finder(text) if isinstance(part, search.Rows)]
        scans = [
            line
            for part in parts
            for line in part.rows.order_by(part.order or part.text).values("pk")[:11].explain().splitlines()
            if line.partition(" ")[2].startswith("SCAN ")
        ]
        assert scans == [], text


def test_every_page_has_the_search(as_root: Client, root: User) -> None:
    for path in ("/admin/", "/admin/search/", "/admin/settings/", "/admin/accounts/user/", "/admin/crates/"):
        assert 'action="/admin/search/"' in as_root.get(path).content.decode(), path
    assert "admin/search" not in Client().get("/admin/login/").content.decode()


def test_odd_texts_are_searched(as_root: Client) -> None:
    for text in ("<script>", "9" * 400, "'\"", "\\", "a@", "@", "::1", "10.1.1.0/24", "\u202e"):
        page: Any = as_root.get("/admin/search/", {"q": text})
        assert (page.status_code, "<script>" in page.content.decode()) == (200, False), text
