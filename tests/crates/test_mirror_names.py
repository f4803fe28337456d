"""Names that exist here and upstream: nobody can take them from the mirror, and nothing of ours is given away."""

from collections.abc import Callable, Iterator
from concurrent.futures import wait
from typing import Any

import pytest
from django.core.cache import caches
from django.db import connection
from django.test import Client

from accounts.models import User
from crates.mirror import index_cache, shared_names
from crates.mirror.models import CANONICAL_NAME, AllowedName, CachedIndexFile
from crates.models import Crate
from registry_site.models import AuditEvent
from tests.support import bad_upstream, packing
from tests.support.admin import run_action, sign_in_to_admin
from tests.support.bad_upstream import BadUpstream, Behaviour
from tests.support.cast import CargoClient
from tests.support.mirror_client import MirrorClient

THEIRS = b"the bytes of upstream's crate"


@pytest.fixture(autouse=True)
def wait_for_lookups() -> Iterator[None]:
    """A slow look-up would make that of the next test slow, too. It ends with the upstream."""
    yield
    wait([future for _, future in list(shared_names.lookups.pending.values())], timeout=60)


def publish(client: CargoClient, name: str = "demo", version: str = "1.0.0") -> tuple[int, str]:
    """Publish a crate; return the status and the error, if there is one."""
    response = client.publish(packing.body(name, version))
    errors = response.json().get("errors", [{"detail": ""}])
    return response.status_code, errors[0]["detail"]


def states() -> dict[str, str]:
    return dict(Crate.objects.values_list("name", "upstream"))


def test_mirrored_name_is_found_by_its_index(db: None) -> None:
    rows = CachedIndexFile.objects.alias(canonical_name=CANONICAL_NAME).filter(canonical_name="serde_json")
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("SET LOCAL enable_seqscan = off")
    assert "index_files_by_canonical_name" in rows.order_by().explain()


# --- Names of upstream ---------------------------------------------------------------------------------------------


def test_name_of_upstream_is_refused(mirror: MirrorClient, upstream: BadUpstream, as_alice: CargoClient) -> None:
    body = upstream.publish("demo", THEIRS)
    assert publish(as_alice) == (
        409,
        "the crate, demo, exists upstream, and this registry mirrors it; choose another name, or ask staff to allow "
        "alice this one (allowed names in the admin site, or REGISTRY_PUBLISH_UPSTREAM_NAMES=1).",
    )
    assert not Crate.objects.exists()
    assert (mirror.index_file().content, mirror.crate().body) == (body, THEIRS)


def test_other_spellings_are_refused(mirror: MirrorClient, upstream: BadUpstream, as_alice: CargoClient) -> None:
    for name in ("inflector", "ndk-sys", "a-b_c-d", "e_f"):
        upstream.publish(name)
    taken = ["Inflector", "ndk_sys", "NDK-sys", "a_b_c_d", "A-B-C-D", "e-f"]
    assert {name: publish(as_alice, name)[0] for name in taken} == dict.fromkeys(taken, 409)


def test_mirrored_name_is_refused_without_asking(
    mirror: MirrorClient, upstream: BadUpstream, as_alice: CargoClient
) -> None:
    upstream.publish("my-lib")
    mirror.index_file("my-lib")
    upstream.requests.clear()
    assert publish(as_alice, "My_Lib")[0] == 409
    assert upstream.requests == []


def test_second_upstream_is_asked_too(
    mirror: MirrorClient, upstream: BadUpstream, second: BadUpstream, as_alice: CargoClient
) -> None:
    second.publish("demo")
    assert publish(as_alice)[0] == 409


def test_shared_name_is_served_by_both(
    mirror: MirrorClient, upstream: BadUpstream, as_alice: CargoClient, settings: Any
) -> None:
    settings.PUBLISH_UPSTREAM_NAMES = True
    body = upstream.publish("demo", THEIRS)
    assert publish(as_alice) == (200, "")
    assert states() == {"demo": "has"}
    assert (mirror.index_file().content, mirror.crate().body) == (body, THEIRS)
    assert as_alice.get("/dl/demo/1.0.0/download").getvalue() == packing.crate()
    assert publish(as_alice, version="1.1.0") == (200, "")


def test_allowed_name_is_for_one_account(
    mirror: MirrorClient, upstream: BadUpstream, as_alice: CargoClient, as_bob: CargoClient, alice: User
) -> None:
    body = upstream.publish("ndk-sys")
    shared_names.allow("Ndk-Sys", alice, actor=None)
    assert publish(as_bob, "ndk_sys")[0] == 409
    assert publish(as_alice, "ndk_sys") == (200, "")
    assert mirror.index_file("ndk-sys").content == body


# --- Names of ours -------------------------------------------------------------------------------------------------


def test_name_of_ours_stays_ours(mirror: MirrorClient, upstream: BadUpstream, as_alice: CargoClient) -> None:
    assert publish(as_alice) == (200, "")
    upstream.publish("demo")
    upstream.requests.clear()
    assert states() == {"demo": "lacks"}
    assert (mirror.index_file().status_code, mirror.crate().status_code) == (404, 404)
    assert publish(as_alice, version="1.1.0") == (200, "")
    assert upstream.requests == []


def test_private_name_is_never_asked_for(
    mirror: MirrorClient, upstream: BadUpstream, as_alice: CargoClient, settings: Any
) -> None:
    settings.PRIVATE_NAMES = ["corp-*"]
    upstream.publish("corp-tool")
    assert publish(as_alice, "corp_tool") == (200, "")
    assert upstream.requests == []


def test_offline_publish_asks_nobody(
    mirror: MirrorClient, upstream: BadUpstream, as_alice: CargoClient, settings: Any
) -> None:
    settings.MIRROR_OFFLINE = True
    upstream.publish("demo")
    assert publish(as_alice) == (200, "")
    assert (states(), upstream.requests) == ({"demo": "unknown"}, [])


def test_registry_without_a_mirror_asks_nobody(
    mirror: MirrorClient, upstream: BadUpstream, alice: User, settings: Any
) -> None:
    settings.MIRROR = False
    upstream.publish("demo")
    assert (shared_names.check_new_name("demo", alice), upstream.requests) == ("lacks", [])
    upstream.publish("mirrored")
    index_cache.refresh_if_stale("mi/rr/mirrored")
    assert shared_names.check_new_name("mirrored", alice) == "has"


def test_all_spellings_are_compared() -> None:
    assert shared_names.spellings("serde") == ["serde"]
    assert shared_names.spellings("my_lib") == ["my_lib", "my-lib"]
    assert len(set(shared_names.spellings("a_b_c_d_e"))) == 16
    many = shared_names.spellings("_".join("abcdefghijklmnopqrstuvwxyz012345"))
    assert len(many) == 16
    assert {name.count("-") for name in many[:2]} == {0, 31}


# --- A bad upstream ------------------------------------------------------------------------------------------------

FAULTS: list[Behaviour] = [
    bad_upstream.hang,
    bad_upstream.reset,
    bad_upstream.refusal(500),
    bad_upstream.file(b"<html>Please log in.</html>"),
]


@pytest.mark.parametrize("behaviour", FAULTS, ids=lambda behaviour: behaviour.__name__)
def test_bad_upstream_refuses_no_publish(
    mirror: MirrorClient, upstream: BadUpstream, as_alice: CargoClient, behaviour: Behaviour
) -> None:
    upstream.script_index("demo", behaviour)
    assert publish(as_alice) == (200, "")
    assert states() == {"demo": "unknown"}
    body = upstream.publish("demo", THEIRS)
    caches["mirror"].clear()  # as after some time
    assert (mirror.index_file().content, mirror.crate().body) == (body, THEIRS)
    assert states() == {"demo": "has"}


def test_bad_upstream_delays_one_publish(mirror: MirrorClient, upstream: BadUpstream, as_alice: CargoClient) -> None:
    for name in ("first", "second"):
        upstream.script_index(name, bad_upstream.refusal(500))
        assert publish(as_alice, name) == (200, "")
    assert (upstream.count_index_requests("first"), upstream.count_index_requests("second")) == (1, 0)


def test_unknown_name_becomes_ours(mirror: MirrorClient, upstream: BadUpstream, as_alice: CargoClient) -> None:
    upstream.script_index("my_lib", bad_upstream.refusal(500))
    publish(as_alice, "my_lib")
    upstream.script_index("my_lib", bad_upstream.refusal(404))
    caches["mirror"].clear()
    assert mirror.index_file("my_lib").status_code == 404
    assert states() == {"my_lib": "lacks"}


def test_page_for_all_paths_refuses_nothing(mirror: MirrorClient, upstream: BadUpstream, as_alice: CargoClient) -> None:
    upstream.script_index("demo", bad_upstream.file(b""))
    assert publish(as_alice) == (200, "")


# --- Staff ---------------------------------------------------------------------------------------------------------

ALLOWED = "/admin/mirror/allowedname/"
CRATES = "/admin/crates/crate/"


def deeds() -> list[tuple[str, str, str]]:
    events = AuditEvent.objects.filter(action__startswith="mirror.").order_by("pk")
    return list(events.values_list("action", "target", "actor_name"))


def test_staff_allow_and_withdraw_a_name(as_root: Client, alice: User) -> None:
    def add(name: str, user: str) -> Any:
        return as_root.post(f"{ALLOWED}add/", {"name": name, "user": user})

    assert add("Ndk-Sys", "alice").status_code == 302
    allowed = AllowedName.objects.get()
    assert allowed.user == alice
    for name, user, field in (("ndk_sys", "alice", "name"), ("../x", "alice", "name"), ("other", "nobody", "user")):
        assert add(name, user).context["adminform"].form.errors.keys() == {field}
    assert "ndk_sys" in as_root.get(ALLOWED, {"q": "ndk"}).content.decode()
    assert "1 withdrawn" in run_action(as_root, ALLOWED, "withdraw", allowed)
    assert not AllowedName.objects.exists()
    assert deeds() == [("mirror.allow_name", "ndk_sys", "root"), ("mirror.disallow_name", "ndk_sys", "root")]


def test_staff_list_shared_names(
    as_root: Client, mirror: MirrorClient, upstream: BadUpstream, as_alice: CargoClient, settings: Any
) -> None:
    settings.PUBLISH_UPSTREAM_NAMES = True
    upstream.publish("theirs-too")
    for name in ("theirs-too", "ours"):
        publish(as_alice, name)
    page = as_root.get(CRATES, {"upstream__exact": "has"}).content.decode()
    assert (">theirs-too<" in page, ">ours<" in page) == (True, False)


def test_staff_give_a_name_back(
    as_root: Client, mirror: MirrorClient, upstream: BadUpstream, as_alice: CargoClient
) -> None:
    publish(as_alice)
    upstream.publish("demo", THEIRS)
    steps: list[tuple[str, Callable[[], int], int]] = [
        ("serve_upstream", lambda: mirror.index_file().status_code, 200),
        ("hide_upstream", lambda: mirror.index_file().status_code, 404),
    ]
    for action, status, expected in steps:
        run_action(as_root, CRATES, action, Crate.objects.get())
        assert status() == expected
    assert "0 hidden, 1 unchanged." in run_action(as_root, CRATES, "hide_upstream", Crate.objects.get())
    assert deeds() == [("mirror.serve_name", "demo", "root"), ("mirror.hide_name", "demo", "root")]


def test_actions_on_names_need_a_permission(as_alice: CargoClient, alice: User) -> None:
    User.objects.filter(pk=alice.pk).update(is_staff=True)
    publish(as_alice)
    client = sign_in_to_admin(alice)
    assert client.get(ALLOWED).status_code == 403
    assert client.post(CRATES, {"action": "serve_upstream"}).status_code == 403
