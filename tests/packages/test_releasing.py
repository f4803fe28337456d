"""The life of packages: what is published, what never changes again, what is removed, restored and transferred."""

import json
import random
import subprocess
import sys
from datetime import timedelta
from functools import partial
from http.client import HTTPConnection
from http.cookies import SimpleCookie
from typing import Any

import pytest
from django.core.management import call_command
from django.test import Client
from django.utils import timezone

from accounts.models import User
from accounts.principals import Principal
from namespaces import membership
from namespaces.models import Namespace
from packages import names, ranges
from packages.models import Collaboration, Package, Release, SnapshotRevision
from registry_site.errors import Invalid
from registry_site.models import AuditEvent
from tests.support.admin import run_action
from tests.support.browser import Browser
from tests.support.concurrency import Response, count_statuses, run_concurrently
from tests.support.package_archives import DEMO_TGZ, pack_tgz, upload_archive
from tests.support.servers import PASSWORD, ROOT, Server

PACKAGES = "/namespaces/alice/packages"
DEMO = f"{PACKAGES}/demo"
ADMIN = "/admin/packages/package/"
NEEDED = [{"name": "acme/core", "version": "^1.0"}]
OTHERS = [{"name": "acme/core", "version": "^2.0"}]
RELEASED = {
    "error": "version_released",
    "message": "alice/demo 1.0.0 is released and never changes again; publish under a new version.",
}
NONE = {"error": "package_missing", "message": "There is no package alice/demo."}


def create(browser: Browser, name: Any = "demo", **changes: Any) -> Any:
    fields = {"package_name": name, "version": "1.0.0", "field": "java", "dependencies": [], "dev_dependencies": []}
    return browser.send("POST", PACKAGES, **{**fields, **changes})


def publish(browser: Browser, version: str, **fields: Any) -> Any:
    return browser.send("PUT", DEMO, version=version, **fields)


def edit(browser: Browser, **fields: Any) -> Any:
    return browser.send("PATCH", DEMO, **fields)


def versions(browser: Browser) -> list[str]:
    return [release["version"] for release in browser.get(f"{DEMO}/versions").json()]


def shown(browser: Browser) -> list[Any]:
    """All that can be seen of the package."""
    return [browser.get(f"{DEMO}{path}").json() for path in ("", "/versions", "/versions/1.0.0")]


def recorded() -> list[tuple[str, str, str]]:
    """Who did what to which package, in that order."""
    events = AuditEvent.objects.filter(action__startswith="package.").order_by("pk")
    return list(events.values_list("actor_name", "action", "target"))


# --- A RELEASE never changes -------------------------------------------------------------------------------------


@pytest.fixture
def released(browser: Browser) -> Browser:
    """There is a RELEASE with an archive and a dependency."""
    fields = {"package_name": "demo", "version": "1.0.0", "field": "java", "status": "RELEASE"}
    response = upload_archive(browser, "POST", PACKAGES, DEMO_TGZ, **fields, dependencies=json.dumps(NEEDED))
    assert response.status_code == 200
    return browser


def again(browser: Browser, archive: bytes | None = DEMO_TGZ, **changes: Any) -> Any:
    """The same once more, except for `changes`."""
    fields = {"version": "1.0.0", "status": "RELEASE", "dependencies": json.dumps(NEEDED), **changes}
    return upload_archive(browser, "PUT", DEMO, archive, **fields)


OTHER_CONTENT: dict[str, dict[str, Any]] = {
    "other archive": {"archive": pack_tgz({"b": "2"})},
    "no archive": {"archive": None},
    "other dependency": {"dependencies": json.dumps(OTHERS)},
    "no dependency": {"dependencies": "[]"},
    "one more dependency": {"dependencies": json.dumps([*NEEDED, {"name": "b", "version": "1"}])},
    "development dependency": {"dev_dependencies": json.dumps(NEEDED)},
    "build metadata": {"version": "1.0.0+build.2"},
    "a snapshot": {"archive": pack_tgz({"b": "2"}), "status": "SNAPSHOT"},
}


@pytest.mark.parametrize("changes", OTHER_CONTENT.values(), ids=OTHER_CONTENT)
@pytest.mark.parametrize("is_deprecated", [False, True])
def test_release_is_not_published_with_other_content(
    released: Browser, changes: dict[str, Any], is_deprecated: bool
) -> None:
    if is_deprecated:
        assert edit(released, status="DEPRECATED").status_code == 200
    before, deeds = shown(released), recorded()
    response = again(released, **changes)
    assert (response.status_code, response.json()) == (400, RELEASED)
    assert (shown(released), recorded(), SnapshotRevision.objects.count()) == (before, deeds, 0)


@pytest.mark.parametrize(
    "changes",
    [{"dependencies": OTHERS}, {"dependencies": []}, {"dev_dependencies": NEEDED}, {"status": "SNAPSHOT"}],
    ids=str,
)
@pytest.mark.parametrize("is_deprecated", [False, True])
def test_release_is_not_edited(released: Browser, changes: dict[str, Any], is_deprecated: bool) -> None:
    if is_deprecated:
        assert edit(released, status="DEPRECATED").status_code == 200
    before = shown(released)
    response = edit(released, **changes)
    assert (response.status_code, response.json()["error"]) == (400, "version_released")
    assert shown(released) == before


def test_release_stays_one_when_it_comes_again_as_a_snapshot(released: Browser) -> None:
    before = shown(released)
    again(released, status="SNAPSHOT")
    assert shown(released) == before


def test_release_again_is_a_success_that_changes_nothing(released: Browser) -> None:
    before, deeds = shown(released), recorded()
    response = again(released)
    assert (response.status_code, response.json()) == (200, {**before[0], "name": "demo"})
    assert (shown(released), recorded(), Release.objects.count()) == (before, deeds, 1)


def test_release_again_may_come_from_another_publisher(released: Browser, bob: User) -> None:
    released.send("POST", f"{DEMO}/collaborators", username="bob", role="MEMBER")
    assert again(Browser(bob)).json()["publisher"] == "alice"


def test_deprecated_release_again_stays_deprecated(released: Browser) -> None:
    edit(released, status="DEPRECATED")
    response = again(released)
    assert (response.status_code, response.json()["status"]) == (200, "DEPRECATED")


def test_release_of_an_older_version_never_changes_either(released: Browser) -> None:
    publish(released, "2.0.0")
    assert again(released, archive=None).json() == RELEASED


def test_same_dependencies_may_be_sent_with_an_edit(released: Browser) -> None:
    response = edit(released, status="DEPRECATED", dependencies=NEEDED, dev_dependencies=[])
    assert (response.status_code, response.json()["status"]) == (200, "DEPRECATED")


# --- A SNAPSHOT is replaced, and promoted ------------------------------------------------------------------------


def test_snapshot_is_replaced(browser: Browser) -> None:
    create(browser, dependencies=NEEDED)
    response = publish(browser, "1.0.0", dependencies=OTHERS)
    assert (response.status_code, response.json()["dependencies"]) == (200, OTHERS)
    assert browser.get(DEMO).json()["dependencies"] == OTHERS
    assert versions(browser) == ["1.0.0"]


def test_replaced_snapshot_stays_in_its_history(browser: Browser, alice: User, bob: User) -> None:
    create(browser, dependencies=NEEDED, description="first")
    browser.send("POST", f"{DEMO}/collaborators", username="bob", role="MEMBER")
    Browser(bob).send("PUT", DEMO, version="1.0.0", dependencies=OTHERS, description="second")
    (former,) = SnapshotRevision.objects.all()
    assert (former.description, former.dependencies) == ("first", NEEDED)
    assert (former.publisher, former.replaced_by) == (alice, bob)


def test_each_state_of_a_snapshot_is_kept(browser: Browser) -> None:
    create(browser, description="0")
    publish(browser, "1.0.0", description="1")
    edit(browser, description="2")
    assert [former.description for former in SnapshotRevision.objects.order_by("pk")] == ["0", "1"]


def test_admin_shows_what_a_snapshot_was(browser: Browser, as_root: Client) -> None:
    create(browser)
    for content in ("first", "second", "third"):
        upload_archive(browser, "PUT", DEMO, pack_tgz({"a": content}), version="1.0.0")
    release = Release.objects.get()
    page = as_root.get(f"/admin/packages/release/{release.pk}/change/").content.decode()
    digests = {release.sha256, *SnapshotRevision.objects.exclude(sha256="").values_list("sha256", flat=True)}
    assert len(digests) == 3
    assert all(digest in page for digest in digests)


@pytest.mark.parametrize("promote", [partial(publish, version="1.0.0"), edit], ids=["PUT", "PATCH"])
def test_promoted_snapshot_never_changes_again(browser: Browser, promote: Any) -> None:
    create(browser)
    response = promote(browser, status="RELEASE", dependencies=NEEDED)
    assert (response.status_code, response.json()["status"]) == (200, "RELEASE")
    assert publish(browser, "1.0.0", dependencies=OTHERS).json() == RELEASED
    assert edit(browser, status="SNAPSHOT").status_code == 400
    assert publish(browser, "1.0.0", status="RELEASE", dependencies=NEEDED).status_code == 200


def test_deprecated_snapshot_may_still_be_replaced(browser: Browser) -> None:
    create(browser)
    edit(browser, status="DEPRECATED")
    response = publish(browser, "1.0.0", dependencies=NEEDED)
    assert (response.status_code, response.json()["status"]) == (200, "SNAPSHOT")


@pytest.mark.parametrize("status", ["DEPRECATED", "release", "", "FINAL", "RELEASE "])
def test_only_an_edit_deprecates(browser: Browser, status: str) -> None:
    assert create(browser, status=status).status_code == 400
    create(browser)
    assert publish(browser, "2.0.0", status=status).status_code == 400
    assert versions(browser) == ["1.0.0"]


def test_snapshot_takes_other_build_metadata(browser: Browser) -> None:
    create(browser, version="1.0.0+a")
    assert publish(browser, "1.0.0+b").json()["version"] == "1.0.0+b"
    assert versions(browser) == ["1.0.0+b"]


# --- Versions ----------------------------------------------------------------------------------------------------

LARGEST = 2**64 - 1
ORDERED = {
    "the example of SemVer": [
        "1.0.0-alpha",
        "1.0.0-alpha.1",
        "1.0.0-alpha.beta",
        "1.0.0-beta",
        "1.0.0-beta.2",
        "1.0.0-beta.11",
        "1.0.0-rc.1",
        "1.0.0",
    ],
    "numbers": ["0.0.1", "0.0.2", "0.2.0", "1.2.0", "1.9.0", "1.10.0", "2.0.0-rc.1"],
    "large numbers": ["9.0.0", f"{LARGEST - 1}.0.0", f"{LARGEST}.0.0-0", f"{LARGEST}.0.0", f"{LARGEST}.{LARGEST}.0"],
    "build metadata": ["1.0.0-a+9", "1.0.0+1", "1.0.1-a+5", "1.0.1+0"],
    "letters": ["1.0.0-1", "1.0.0-10", "1.0.0--", "1.0.0-1a", "1.0.0-A", "1.0.0-a"],
}


@pytest.mark.parametrize("ordered", ORDERED.values(), ids=ORDERED)
def test_highest_version_is_the_newest(browser: Browser, ordered: list[str]) -> None:
    first, *others = random.Random(1).sample(ordered, len(ordered))
    create(browser, version=first)
    assert [publish(browser, version).json()["version"] for version in others] == others
    assert versions(browser) == ordered[::-1]
    assert browser.get(DEMO).json()["version"] == browser.get(PACKAGES).json()[0]["version"] == ordered[-1]


def test_older_version_is_answered_and_is_not_the_newest(browser: Browser) -> None:
    create(browser, version="2.0.0")
    assert publish(browser, "1.0.0", dependencies=NEEDED).json()["dependencies"] == NEEDED
    shown = browser.get(DEMO).json()
    assert (shown["version"], shown["dependencies"]) == ("2.0.0", [])


def test_edit_is_of_the_newest_version(browser: Browser) -> None:
    create(browser, version="2.0.0")
    publish(browser, "1.0.0")
    assert edit(browser, status="DEPRECATED").json()["version"] == "2.0.0"
    assert browser.get(f"{DEMO}/versions/1.0.0").json()["status"] == "SNAPSHOT"


BAD_VERSIONS = [
    "",
    "1",
    "1.0",
    "1.0.0.0",
    "v1.0.0",
    "01.0.0",
    "1.0.0-",
    "1.0.0-01",
    "1.0.0-a..b",
    "1.0.0+",
    "1.0.0+a+b",
    " 1.0.0",
    "1.0.0 ",
    "1.0.0\n",
    "-1.0.0",
    "1.0.0-ü",
    "\uff11.0.0",
    "latest",
    "../../x",
    f"{LARGEST + 1}.0.0",
    f"0.0.{LARGEST + 1}",
    "1.0.0-" + "a" * 122,
]


@pytest.mark.parametrize("version", BAD_VERSIONS)
def test_bad_version_is_refused(browser: Browser, version: str) -> None:
    assert create(browser, version=version).status_code == 400
    create(browser)
    assert publish(browser, version).status_code == 400
    assert versions(browser) == ["1.0.0"]


def test_description_and_keywords_are_carried_over(browser: Browser) -> None:
    create(browser, description="你好", keywords=["fast", "small"])
    published = publish(browser, "2.0.0").json()
    assert (published["description"], published["keywords"]) == ("你好", ["fast", "small"])


def test_new_description_and_keywords_are_of_their_version(browser: Browser) -> None:
    create(browser, description="first", keywords=["fast"])
    published = publish(browser, "2.0.0", description="", keywords=[]).json()
    assert (published["description"], published["keywords"]) == ("", [])
    former = browser.get(f"{DEMO}/versions/1.0.0").json()
    assert (former["description"], former["keywords"]) == ("first", ["fast"])


def test_dependencies_are_not_carried_over(browser: Browser) -> None:
    create(browser, dependencies=NEEDED, dev_dependencies=OTHERS)
    published = publish(browser, "2.0.0").json()
    assert (published["dependencies"], published["dev_dependencies"]) == ([], [])


def test_type_stays_unless_it_is_said(browser: Browser) -> None:
    create(browser, type="PRIVATE")
    assert publish(browser, "2.0.0").json()["type"] == "PRIVATE"
    assert edit(browser, description="x").json()["type"] == "PRIVATE"
    assert publish(browser, "3.0.0", type="PUBLIC").json()["type"] == "PUBLIC"


# --- Dependencies ------------------------------------------------------------------------------------------------

GOOD_RANGES = [
    "*",
    "1",
    "1.2",
    "1.2.3",
    "v1.2.3",
    "=1.2.3",
    "1.x",
    "1.2.*",
    "X",
    "^1.2",
    "^0.0.3-beta",
    "~1.2.3",
    "~> 2.1",
    "~=1.4",
    "==1.*",
    "!=1.5",
    ">= 1.2",
    ">=1.2 <2",
    ">=1.2,<2",
    ">=1.2, <2, !=1.5",
    "1.0 - 2.0",
    "1.0.0-rc.1 - 2.0",
    "^1.2 || >=2 <3",
    "^1|^2",
    "[1.0,2.0)",
    "(,1.0]",
    "[1.0,)",
    "[1.5]",
    "1.2.3.4",
    "1.0.0-alpha.1+build.5",
    "18446744073709551615.0.0",
]
BAD_RANGES = [
    "",
    " ",
    "latest",
    "^",
    ">=",
    "a.b.c",
    "1..2",
    "1.",
    ".1",
    "^^1",
    "=>1",
    "1 -",
    "1 ||",
    "|| 1",
    "[1.0,2.0",
    "1.0,2.0)",
    ">1 && <2",
    "1;2",
    "1\n2",
    "1\t2",
    "\uff11.0",
    "http://example.org/a.tgz",
    "git+ssh://git@example.org/a",
    "file:../a",
    "../a",
    "<script>",
    "1.0.0-é",
    "1\u20112",
    "9" * 21,
    "1" + " " * 127,
]


@pytest.mark.parametrize("text", GOOD_RANGES)
def test_range_is_understood(text: str) -> None:
    ranges.validate(text)


@pytest.mark.parametrize("text", BAD_RANGES)
def test_what_is_no_range_is_refused(text: str) -> None:
    with pytest.raises(Invalid, match="is not understood"):
        ranges.validate(text)


LONG_RANGES = {
    "commas": "| ".join([", ".join(["1"] * 14)] * 3)[:126] + "!",
    "bars": "| ".join(["1"] * 42) + "!",
    "blanks": "  ".join(["1"] * 42) + "!",
    "dashes": "1-" * 63 + "!",
    "dots": "1." * 63 + "!",
    "alternatives of many": "| ".join(["1, 1, 1, 1"] * 10)[:126] + "!",
}


@pytest.mark.parametrize("text", LONG_RANGES.values(), ids=LONG_RANGES)
def test_no_range_takes_long_to_read(text: str) -> None:
    """A regular expression can try billions of ways: the reader is ended if it does."""
    code = f"from packages import ranges\ntry:\n    ranges.validate({text!r})\nexcept ranges.Invalid:\n    pass"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, timeout=5, check=True)


@pytest.mark.parametrize("field", ["dependencies", "dev_dependencies"])
@pytest.mark.parametrize("name", ["", " ", "\t", "a\nb", "a\u200bb", "a\u202eb", "x" * 128])
def test_dependency_without_a_possible_name_is_refused(browser: Browser, field: str, name: str) -> None:
    response = create(browser, **{field: [{"name": name, "version": "1"}]})
    assert (response.status_code, set(response.json())) == (400, {"error", "message"})
    assert not Package.objects.exists()


@pytest.mark.parametrize("name", ["core", "acme/core", "@scope/core", "org.example:core", "数据库", "x" * 127])
def test_dependency_has_a_name_of_any_ecosystem(browser: Browser, name: str) -> None:
    needed = [{"name": name, "version": "1"}]
    assert create(browser, dependencies=needed).json()["dependencies"] == needed


@pytest.mark.parametrize("field", ["dependencies", "dev_dependencies"])
def test_dependency_is_named_once(browser: Browser, field: str) -> None:
    response = create(browser, **{field: [{"name": "a", "version": version} for version in ("1", "2")]})
    message = "A dependency is named twice."
    assert (response.status_code, response.json()) == (400, {"error": "dependencies_invalid", "message": message})


def test_dependency_may_be_one_for_development_too(browser: Browser) -> None:
    assert create(browser, dependencies=NEEDED, dev_dependencies=NEEDED).status_code == 200


@pytest.mark.parametrize(("count", "status"), [(1000, 200), (1001, 400)])
def test_thousand_dependencies_are_enough(browser: Browser, count: int, status: int) -> None:
    needed = [{"name": f"p{number}", "version": "1"} for number in range(count)]
    assert create(browser, dependencies=needed).status_code == status


# --- Names -------------------------------------------------------------------------------------------------------

GOOD_NAMES = [
    "a",
    "A1",
    "0",
    "my-package",
    "my.package_2",
    "a..b",
    "x" * 63,
    "数据库",
    "中" * 63,
    "vue中文",
    "データ",
    "サーバー",
    "ひらがな",
    "佐々木",
    "데이터",
    "ㄅㄆㄇ",
    "㐀",
    "𠮷",
]
BAD_NAMES = [
    "",
    " ",
    ".",
    "..",
    "-",
    ".a",
    "a.",
    "-a",
    "a-",
    "_a",
    "a_",
    "a b",
    "a/b",
    "a\\b",
    "a:b",
    "a@b",
    "a+b",
    "a%b",
    "a?b",
    "a#b",
    "a\nb",
    "a\n",
    "a\0b",
    "x" * 64,
    "中" * 64,
    "аpple",  # noqa: RUF001 - begins with a Cyrillic letter
    "раураl",  # noqa: RUF001
    "αlpha",  # noqa: RUF001
    "ａｐｐｌｅ",  # noqa: RUF001 - full width
    "café",
    "ａ",  # noqa: RUF001
    "Ⅳ",
    "①",
    "٣",
    "a\u200bb",
    "a\u200db",
    "a\ufeffb",
    "a\u00adb",
    "a\u202eb",
    "\u2066a",
    "שלום",
    "عربي",
    "か\u3099",
    "\u1112\u1161\u11ab",
    "ﾃﾞｰﾀ",
    "\uf900",
    "中\ufe00",
    "a\u0301",
    "🙂",
    "中\u3000文",
    "中。",
]


@pytest.mark.parametrize("name", GOOD_NAMES)
def test_package_may_have_this_name(name: str) -> None:
    names.validate(name)


@pytest.mark.parametrize("name", BAD_NAMES, ids=ascii)
def test_package_may_not_have_this_name(name: str) -> None:
    with pytest.raises(Invalid, match="is not allowed"):
        names.validate(name)


@pytest.mark.parametrize("name", ["数据库", "Database", "데이터", "a..b"])
def test_package_is_found_by_its_name(browser: Browser, name: str) -> None:
    assert create(browser, name).json()["package_name"] == name
    assert browser.get(f"{PACKAGES}/{name.upper()}").json()["package_name"] == name


@pytest.mark.parametrize("name", ["demo", "DEMO", "Demo"])
def test_name_is_unique_in_its_namespace_in_any_case(browser: Browser, name: str) -> None:
    create(browser)
    response = create(browser, name)
    message = f"alice has a package {name!r} already, perhaps in the trash."
    assert (response.status_code, response.json()) == (400, {"error": "name_taken", "message": message})


def test_name_is_free_in_another_namespace(browser: Browser, bob: User) -> None:
    create(browser)
    fields = {"package_name": "demo", "version": "1.0.0", "field": "java"}
    assert Browser(bob).send("POST", "/namespaces/bob/packages", **fields).json()["namespace"] == "bob"


# --- The trash ---------------------------------------------------------------------------------------------------


@pytest.fixture
def removed(browser: Browser) -> Package:
    """Was a package of two versions."""
    create(browser, description="zebra")
    publish(browser, "2.0.0")
    assert browser.delete(DEMO).json() == {"status": "ok"}
    return Package.objects.get()


def age(package: Package, **since: int) -> None:
    Package.objects.filter(pk=package.pk).update(removed_at=timezone.now() - timedelta(**since))


@pytest.mark.parametrize("path", ["", "/versions", "/versions/1.0.0", "/versions/1.0.0/download", "/collaborators"])
def test_removed_package_is_missing(browser: Browser, removed: Package, path: str) -> None:
    response = browser.get(DEMO + path)
    assert (response.status_code, response.json()) == (404, NONE)


def test_removed_package_is_in_no_list(browser: Browser, removed: Package) -> None:
    assert browser.get(PACKAGES).json() == browser.get("/packages?query=demo").json() == []


def test_removed_package_is_removed_once(browser: Browser, removed: Package) -> None:
    response = browser.delete(DEMO)
    assert (response.status_code, response.content) == (204, b"")


def test_removed_package_takes_no_version(browser: Browser, removed: Package) -> None:
    response = publish(browser, "3.0.0")
    assert (response.status_code, response.json()) == (400, NONE)
    assert edit(browser, description="x").status_code == 404


@pytest.mark.parametrize("name", ["demo", "DEMO"])
def test_name_in_the_trash_stays_reserved(browser: Browser, removed: Package, name: str) -> None:
    response = create(browser, name)
    assert (response.status_code, response.json()["error"]) == (400, "name_taken")


def test_restored_package_is_what_it_was(browser: Browser, removed: Package, as_root: Client) -> None:
    assert "1 restored" in run_action(as_root, ADMIN, "restore", removed)
    assert versions(browser) == ["2.0.0", "1.0.0"]
    assert [package["version"] for package in browser.get("/packages?query=zebra").json()] == ["2.0.0"]
    assert publish(browser, "3.0.0").status_code == 200


def test_staff_removes_and_restores_once(browser: Browser, as_root: Client) -> None:
    create(browser)
    package = Package.objects.get()
    assert "1 removed" in run_action(as_root, ADMIN, "remove", package)
    assert browser.get(DEMO).status_code == 404
    assert "0 removed" in run_action(as_root, ADMIN, "remove", package)
    assert "1 restored" in run_action(as_root, ADMIN, "restore", package)
    assert "0 restored" in run_action(as_root, ADMIN, "restore", package)


def test_admin_deletes_no_package_for_good(browser: Browser, as_root: Client) -> None:
    create(browser)
    package = Package.objects.get()
    assert as_root.post(f"{ADMIN}{package.pk}/delete/", {"post": "yes"}).status_code == 403
    run_action(as_root, ADMIN, "delete_selected", package)
    assert browser.get(DEMO).status_code == 200


def test_purge_leaves_what_was_removed_lately(browser: Browser, removed: Package, capsys: Any) -> None:
    age(removed, days=13, hours=23)
    call_command("purge")
    assert "0 packages deleted for good." in capsys.readouterr().out
    assert create(browser).json()["error"] == "name_taken"


def test_purge_frees_a_name_after_its_time(browser: Browser, removed: Package, capsys: Any) -> None:
    age(removed, days=14, hours=1)
    call_command("purge")
    assert "1 packages deleted for good." in capsys.readouterr().out
    assert create(browser).status_code == 200
    assert versions(browser) == ["1.0.0"]


def test_purge_leaves_what_is_there(browser: Browser) -> None:
    create(browser)
    call_command("purge")
    assert browser.get(DEMO).status_code == 200


# --- Transfer ----------------------------------------------------------------------------------------------------


@pytest.fixture
def acme(bob: User) -> Namespace:
    """Bob's."""
    return membership.create_namespace(Principal(bob), "acme")


def move(client: Client, package: Package, namespace: Namespace) -> str:
    """Save the package's form with another namespace; what the page then says."""
    counts = {f"{rows}-{kind}_FORMS": 0 for rows in ("releases", "collaborations") for kind in ("TOTAL", "INITIAL")}
    data = {"namespace": namespace.pk, **counts}
    response = client.post(f"{ADMIN}{package.pk}/change/", data, follow=True)
    assert response.status_code == 200
    return response.content.decode()


def test_transferred_package_is_in_the_other_namespace(browser: Browser, as_root: Client, acme: Namespace) -> None:
    create(browser, description="zebra")
    assert "was changed successfully" in move(as_root, Package.objects.get(), acme)
    moved = browser.get("/namespaces/acme/packages/demo").json()
    assert (moved["namespace"], moved["namespace_id"], moved["version"]) == ("acme", str(acme.pk), "1.0.0")
    assert browser.get(DEMO).status_code == 404
    assert browser.get(PACKAGES).json() == []


def test_transferred_package_is_found_by_its_new_namespace(browser: Browser, as_root: Client, acme: Namespace) -> None:
    create(browser)
    move(as_root, Package.objects.get(), acme)
    found = [len(browser.get(f"/packages?query={query}").json()) for query in ("alice", "acme", "acme/demo")]
    assert found == [0, 1, 1]


def test_transferred_package_keeps_its_collaborators(browser: Browser, as_root: Client, acme: Namespace) -> None:
    create(browser)
    move(as_root, Package.objects.get(), acme)
    assert browser.send("PUT", "/namespaces/acme/packages/demo", version="2.0.0").status_code == 200
    assert Collaboration.objects.get().user.username == "alice"


@pytest.mark.parametrize("name", ["demo", "DEMO"])
def test_conflict_of_a_transfer_is_told(
    browser: Browser, as_root: Client, acme: Namespace, bob: User, name: str
) -> None:
    create(browser)
    fields = {"package_name": name, "version": "9.0.0", "field": "java"}
    Browser(bob).send("POST", "/namespaces/acme/packages", **fields)
    page = move(as_root, Package.objects.get(namespace__name="alice"), acme)
    assert "has a package &#x27;demo&#x27; already, perhaps in the trash." in page
    assert browser.get(DEMO).json()["version"] == "1.0.0"
    assert browser.get("/namespaces/acme/packages/demo").json()["version"] == "9.0.0"
    assert "package.transfer" not in [action for _, action, _ in recorded()]


def test_transfer_into_the_trash_is_told(browser: Browser, as_root: Client, acme: Namespace, bob: User) -> None:
    create(browser)
    membership.remove_namespace(Principal(bob), "acme")
    assert "There is no such namespace." in move(as_root, Package.objects.get(), acme)
    assert browser.get(DEMO).status_code == 200


def test_transfer_out_of_the_trash_is_told(as_root: Client, removed: Package, acme: Namespace) -> None:
    assert "There is no package" in move(as_root, removed, acme)
    assert Package.objects.get().namespace.name == "alice"


# --- What is recorded --------------------------------------------------------------------------------------------


def test_each_deed_is_recorded(browser: Browser, as_root: Client, acme: Namespace) -> None:
    create(browser)
    publish(browser, "2.0.0")
    edit(browser, status="DEPRECATED")
    browser.delete(DEMO)
    run_action(as_root, ADMIN, "restore", Package.objects.get())
    move(as_root, Package.objects.get(), acme)
    assert recorded() == [
        ("alice", "package.create", "alice/demo"),
        ("alice", "package.publish", "alice/demo 2.0.0"),
        ("alice", "package.edit", "alice/demo 2.0.0"),
        ("alice", "package.remove", "alice/demo"),
        ("root", "package.restore", "alice/demo"),
        ("root", "package.transfer", "acme/demo"),
    ]


def test_record_says_from_where_and_what(browser: Browser) -> None:
    upload_archive(browser, "POST", PACKAGES, DEMO_TGZ, package_name="demo", version="1.0.0", field="java")
    publish(browser, "2.0.0", status="RELEASE")
    event = AuditEvent.objects.get(action="package.publish")
    assert (event.ip_address, event.detail) == ("127.0.0.1", {"status": "RELEASE", "sha256": ""})


def test_what_was_refused_is_not_recorded(browser: Browser, charlie: User) -> None:
    create(browser)
    before = recorded()
    publish(browser, "2")
    Browser(charlie).delete(DEMO)
    Browser(charlie).send("PUT", DEMO, version="2.0.0")
    assert recorded() == before


# --- Many at once, on a real server ------------------------------------------------------------------------------

RACERS = 32
PEOPLE = ("alice", "bob", "charlie", "dora")


def ask(server: Server, cookie: str, method: str, path: str, **body: Any) -> Response:
    connection = HTTPConnection("127.0.0.1", server.port, timeout=60)
    headers = {"Content-Type": "application/json", "Origin": server.url, "Cookie": cookie}
    try:
        connection.request(method, path, json.dumps(body), headers)
        answer = connection.getresponse()
        return Response(answer.status, json.loads(answer.read() or b"{}"))
    finally:
        connection.close()


@pytest.fixture(scope="module")
def people(server: Server) -> list[Any]:
    """How each of the four asks for something; all are owners of the namespace `all`."""
    cookies = [_signed_in(server, name) for name in PEOPLE]
    ask(server, cookies[0], "POST", "/namespace", namespace="all")
    members = [{"username": name, "role": "OWNER"} for name in PEOPLE[1:]]
    assert ask(server, cookies[0], "POST", "/namespace/all/members", members=members).status == 200
    return [partial(ask, server, cookie) for cookie in cookies]


def _signed_in(server: Server, name: str) -> str:
    server.sign_up(name)
    connection = HTTPConnection("127.0.0.1", server.port, timeout=60)
    try:
        body = json.dumps({"username": name, "password": PASSWORD})
        connection.request("POST", "/login", body, {"Content-Type": "application/json", "Origin": server.url})
        answer = connection.getresponse()
        answer.read()
        return SimpleCookie(answer.getheader("Set-Cookie", ""))["registry_session"].OutputString([])
    finally:
        connection.close()


def made(person: Any, name: str, namespace: str = "all") -> partial[Response]:
    """To be called: makes a package."""
    path = f"/namespaces/{namespace}/packages"
    return partial(person, "POST", path, package_name=name, version="1.0.0", field="java")


def put(person: Any, name: str, version: str, number: int, namespace: str = "all") -> partial[Response]:
    """To be called: publishes a release whose content no other number has."""
    path = f"/namespaces/{namespace}/packages/{name}"
    needed = [{"name": "a", "version": str(number)}]
    return partial(person, "PUT", path, version=version, status="RELEASE", dependencies=needed)


def test_one_of_many_publishers_wins_a_version(people: list[Any]) -> None:
    made(people[0], "version")()
    answers = run_concurrently([put(people[number % 4], "version", "2.0.0", number) for number in range(RACERS)])
    assert count_statuses(answers) == {200: 1, 400: RACERS - 1}
    (winner,) = [number for number, answer in enumerate(answers) if answer.status == 200]
    needed = people[0]("GET", "/namespaces/all/packages/version/versions/2.0.0").body["dependencies"]
    assert needed == [{"name": "a", "version": str(winner)}]
    assert {answer.body["error"] for answer in answers if answer.status == 400} == {"version_released"}


def test_different_versions_at_once_are_all_published(people: list[Any]) -> None:
    made(people[0], "many")()
    answers = run_concurrently([put(people[number % 4], "many", f"1.0.{number + 1}", 1) for number in range(RACERS)])
    assert count_statuses(answers) == {200: RACERS}
    assert people[0]("GET", "/namespaces/all/packages/many").body["version"] == f"1.0.{RACERS}"


def test_one_of_many_takes_a_name(people: list[Any]) -> None:
    spellings = ["name", "NAME", "Name", "nAME"]
    answers = run_concurrently([made(people[number % 4], spellings[number // 4 % 4]) for number in range(RACERS)])
    assert count_statuses(answers) == {200: 1, 400: RACERS - 1}
    assert {answer.body["error"] for answer in answers if answer.status == 400} == {"name_taken"}
    assert people[0]("GET", "/namespaces/all/packages/name").status == 200


def test_publishing_beside_a_removal_leaves_nothing_in_sight(people: list[Any]) -> None:
    for round_ in range(3):
        path = f"/namespaces/all/packages/gone{round_}"
        made(people[0], f"gone{round_}")()
        publishers = [put(people[number % 4], f"gone{round_}", f"2.0.{number}", 1) for number in range(12)]
        answers = run_concurrently([*publishers[:6], partial(people[1], "DELETE", path), *publishers[6:]])
        assert set(count_statuses(answers)) <= {200, 400}
        assert answers[6].body == {"status": "ok"}
        assert people[0]("GET", path).status == 404
        assert made(people[0], f"gone{round_}")().body["error"] == "name_taken"


def test_publishing_beside_the_removal_of_a_namespace_leaves_no_orphan(server: Server, people: list[Any]) -> None:
    acknowledged = 0
    for round_ in range(3):
        space = f"space{round_}"
        people[0]("POST", "/namespace", namespace=space)
        made(people[0], "old", space)()
        racers = [made(people[0], f"new{number}", space) for number in range(8)]
        racers += [put(people[0], "old", f"2.0.{number}", 1, space) for number in range(8)]
        *answers, removal = run_concurrently([*racers, partial(people[0], "DELETE", f"/namespace/{space}")])
        assert set(count_statuses([*answers, removal])) <= {200, 400}
        assert people[0]("GET", f"/namespaces/{space}/packages/old").status == 404
        acknowledged += 1 + sum(answer.status == 200 for answer in answers)
    code = (
        "from packages.models import Package, Release; left = Release.objects.filter("
        "package__namespace__name__startswith='space', package__namespace__removed_at__isnull=False); "
        "print(left.count(), Package.objects.filter(newest=None).count())"
    )
    assert server.manage("shell", "-v", "0", "-c", code) == f"{acknowledged} 0"


@pytest.mark.parametrize("kind", ["members", "collaborators"])
def test_one_of_two_who_demote_each_other_stays_owner(people: list[Any], kind: str) -> None:
    alice, bob, charlie, _ = people
    space = f"duel-{kind}"
    alice("POST", "/namespace", namespace=space)
    made(alice, "demo", space)()
    path = f"/namespace/{space}/members" if kind == "members" else f"/namespace/{space}/packages/demo/collaborators"
    for name in ("bob", "charlie"):
        assert alice("POST", path, username=name, role="OWNER").status == 200
    alice("DELETE", f"{path}/alice")
    for _ in range(4):
        answers = run_concurrently(
            [
                partial(bob, "PATCH", f"{path}/charlie", role="READ_ONLY"),
                partial(charlie, "PATCH", f"{path}/bob", role="READ_ONLY"),
            ]
        )
        assert sorted(answer.status for answer in answers) == [200, 403]
        winner, loser = (bob, "charlie") if answers[0].status == 200 else (charlie, "bob")
        assert winner("PATCH", f"{path}/{loser}", role="OWNER").status == 200
