"""The life of packages: publish, edit, remove, restore and transfer."""

import json
import random
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from django.core.management import call_command
from django.test import Client
from django.utils import timezone

from accounts.models import User
from accounts.principals import Principal
from namespaces import membership
from namespaces.models import Namespace
from packages import names, ranges, releasing
from packages.models import Collaboration, Package, Release, SnapshotRevision
from registry_site.errors import Invalid
from registry_site.models import AuditEvent
from tests.support.admin import run_action, undo_run
from tests.support.browser import Browser
from tests.support.concurrency import Response, count_statuses, run_concurrently
from tests.support.live_browser import LiveBrowser
from tests.support.package_archives import DEMO_TGZ, pack_tgz, upload_archive
from tests.support.servers import ROOT, Server

PACKAGES = "/namespaces/alice/packages"
DEMO = f"{PACKAGES}/demo"
ADMIN = "/admin/packages/package/"
DEPENDENCIES = [{"name": "acme/core", "version": "^1.0"}]
OTHER_DEPENDENCIES = [{"name": "acme/core", "version": "^2.0"}]
RELEASED = {
    "error": "version_released",
    "message": "alice/demo 1.0.0 is released and never changes again; publish under a new version.",
}
MISSING = {"error": "package_missing", "message": "There is no package alice/demo."}


def create(browser: Browser, name: Any = "demo", **changes: Any) -> Any:
    fields = {"package_name": name, "version": "1.0.0", "field": "npm", "dependencies": [], "dev_dependencies": []}
    return browser.send("POST", PACKAGES, **{**fields, **changes})


def publish(browser: Browser, version: str, **fields: Any) -> Any:
    return browser.send("PUT", DEMO, version=version, **fields)


def edit(browser: Browser, **fields: Any) -> Any:
    return browser.send("PATCH", DEMO, **fields)


def versions(browser: Browser) -> list[str]:
    return [release["version"] for release in browser.get(f"{DEMO}/versions").json()]


def snapshot(browser: Browser) -> list[Any]:
    """Return all answers that show the package."""
    return [browser.get(f"{DEMO}{path}").json() for path in ("", "/versions", "/versions/1.0.0")]


def audit_trail() -> list[tuple[str, str, str]]:
    """Return actor, action and target of all audit events of packages, the oldest first."""
    events = AuditEvent.objects.filter(action__startswith="package.").order_by("pk")
    return list(events.values_list("actor_name", "action", "target"))


# --- A RELEASE never changes -----------------------------------------------------------------------------------------


@pytest.fixture
def released(browser: Browser) -> Browser:
    """A browser of alice, who has a RELEASE with an archive and a dependency."""
    fields = {"package_name": "demo", "version": "1.0.0", "field": "npm", "status": "RELEASE"}
    response = upload_archive(browser, "POST", PACKAGES, DEMO_TGZ, **fields, dependencies=json.dumps(DEPENDENCIES))
    assert response.status_code == 200
    return browser


def republish(browser: Browser, archive: bytes | None = DEMO_TGZ, **changes: Any) -> Any:
    """Publish the RELEASE a second time, with `changes`."""
    fields = {"version": "1.0.0", "status": "RELEASE", "dependencies": json.dumps(DEPENDENCIES), **changes}
    return upload_archive(browser, "PUT", DEMO, archive, **fields)


OTHER_CONTENT: dict[str, dict[str, Any]] = {
    "other archive": {"archive": pack_tgz({"b": "2"})},
    "no archive": {"archive": None},
    "other dependency": {"dependencies": json.dumps(OTHER_DEPENDENCIES)},
    "no dependency": {"dependencies": "[]"},
    "one more dependency": {"dependencies": json.dumps([*DEPENDENCIES, {"name": "b", "version": "1"}])},
    "development dependency": {"dev_dependencies": json.dumps(DEPENDENCIES)},
    "other type": {"type": "PRIVATE"},
    "other description": {"description": "other"},
    "other keywords": {"keywords": '["other"]'},
    "build metadata": {"version": "1.0.0+build.2"},
    "a snapshot": {"status": "SNAPSHOT"},
    "a snapshot with other archive": {"archive": pack_tgz({"b": "2"}), "status": "SNAPSHOT"},
}


@pytest.mark.parametrize("is_deprecated", [False, True])
def test_release_refuses_other_content(released: Browser, is_deprecated: bool) -> None:
    if is_deprecated:
        assert edit(released, status="DEPRECATED").status_code == 200
    before, events = snapshot(released), audit_trail()
    responses = {name: republish(released, **changes) for name, changes in OTHER_CONTENT.items()}
    refusal = (400, RELEASED)
    assert [name for name, answer in responses.items() if (answer.status_code, answer.json()) != refusal] == []
    assert (snapshot(released), audit_trail(), SnapshotRevision.objects.count()) == (before, events, 0)


@pytest.mark.parametrize("is_deprecated", [False, True])
def test_release_refuses_edits_of_content(released: Browser, is_deprecated: bool) -> None:
    if is_deprecated:
        assert edit(released, status="DEPRECATED").status_code == 200
    before = snapshot(released)
    edits: list[dict[str, Any]] = [
        {"dependencies": OTHER_DEPENDENCIES},
        {"dependencies": []},
        {"dev_dependencies": DEPENDENCIES},
        {"description": "other"},
        {"keywords": ["other"]},
        {"status": "SNAPSHOT"},
    ]
    responses = [edit(released, **changes) for changes in edits]
    assert [(answer.status_code, answer.json()["error"]) for answer in responses] == [(400, "version_released")] * 6
    assert snapshot(released) == before


def test_republishing_a_release_changes_nothing(released: Browser) -> None:
    before, events = snapshot(released), audit_trail()
    response = republish(released)
    assert (response.status_code, response.json()) == (200, {**before[0], "name": "demo"})
    assert (snapshot(released), audit_trail(), Release.objects.count()) == (before, events, 1)


def test_other_publisher_may_republish_a_release(released: Browser, bob: User) -> None:
    released.send("POST", f"{DEMO}/collaborators", username="bob", role="MEMBER")
    assert republish(Browser(bob)).json()["publisher"] == "alice"


def test_republished_deprecated_release_stays_deprecated(released: Browser) -> None:
    edit(released, status="DEPRECATED")
    response = republish(released)
    assert (response.status_code, response.json()["status"]) == (200, "DEPRECATED")


def test_older_release_refuses_other_content(released: Browser) -> None:
    publish(released, "2.0.0")
    assert republish(released, archive=None).json() == RELEASED


def test_edit_may_repeat_dependencies_of_a_release(released: Browser) -> None:
    response = edit(released, status="DEPRECATED", dependencies=DEPENDENCIES, dev_dependencies=[])
    assert (response.status_code, response.json()["status"]) == (200, "DEPRECATED")


# --- A SNAPSHOT may be replaced and promoted -------------------------------------------------------------------------


def test_snapshot_is_replaced(browser: Browser) -> None:
    create(browser, dependencies=DEPENDENCIES)
    response = publish(browser, "1.0.0", dependencies=OTHER_DEPENDENCIES)
    assert (response.status_code, response.json()["dependencies"]) == (200, OTHER_DEPENDENCIES)
    assert browser.get(DEMO).json()["dependencies"] == OTHER_DEPENDENCIES
    assert versions(browser) == ["1.0.0"]


def test_replaced_snapshot_is_kept_as_revision(browser: Browser, alice: User, bob: User) -> None:
    create(browser, dependencies=DEPENDENCIES, description="first")
    browser.send("POST", f"{DEMO}/collaborators", username="bob", role="MEMBER")
    Browser(bob).send("PUT", DEMO, version="1.0.0", dependencies=OTHER_DEPENDENCIES, description="second")
    (revision,) = SnapshotRevision.objects.all()
    assert (revision.description, revision.dependencies) == ("first", DEPENDENCIES)
    assert (revision.publisher, revision.replaced_by) == (alice, bob)


def test_every_change_of_a_snapshot_keeps_a_revision(browser: Browser) -> None:
    create(browser, description="0")
    publish(browser, "1.0.0", description="1")
    edit(browser, description="2")
    assert [revision.description for revision in SnapshotRevision.objects.order_by("pk")] == ["0", "1"]


def test_small_edit_keeps_only_its_change(browser: Browser) -> None:
    create(browser, dependencies=DEPENDENCIES, keywords=["a"], description="0")
    edit(browser, description="1")
    edit(browser, dependencies=OTHER_DEPENDENCIES, description="1")
    first, second = SnapshotRevision.objects.order_by("pk")
    assert (first.changed_fields, first.description) == (["description"], "0")
    assert (first.dependencies, first.keywords, first.status) == ([], [], "SNAPSHOT")
    assert (second.changed_fields, second.description, second.dependencies) == (["dependencies"], "", DEPENDENCIES)


def test_edit_without_a_change_keeps_nothing(browser: Browser) -> None:
    create(browser, dependencies=DEPENDENCIES, description="0")
    assert edit(browser, dependencies=DEPENDENCIES, description="0", type="PRIVATE").status_code == 200
    assert not SnapshotRevision.objects.exists()


def test_changes_within_ten_seconds_are_limited(browser: Browser, alice: User, bob: User, settings: Any) -> None:
    settings.PUBLISH_LIMIT_PER_10_SECONDS = 3
    create(browser)
    browser.send("POST", f"{DEMO}/collaborators", username="bob", role="MEMBER")
    assert [edit(browser, description="1").status_code, publish(browser, "1.0.0").status_code] == [200, 200]
    for response in (edit(browser, description="2"), publish(browser, "1.0.1"), create(browser, "other")):
        assert (response.status_code, response["Retry-After"]) == (429, "10")
        assert response.json()["error"] == "too_many"
    assert edit(Browser(bob), description="3").status_code == 200
    settings.PUBLISH_LIMIT_PER_10_SECONDS = 0
    assert edit(browser, description="4").status_code == 200


def test_admin_shows_revisions_of_a_snapshot(browser: Browser, as_root: Client) -> None:
    create(browser)
    for content in ("first", "second", "third"):
        upload_archive(browser, "PUT", DEMO, pack_tgz({"a": content}), version="1.0.0")
    release = Release.objects.get()
    page = as_root.get(f"/admin/packages/release/{release.pk}/").content.decode()
    digests = {release.sha256, *SnapshotRevision.objects.exclude(sha256="").values_list("sha256", flat=True)}
    assert len(digests) == 3
    assert all(digest in page for digest in digests)


@pytest.mark.parametrize("promote", [partial(publish, version="1.0.0"), edit], ids=["PUT", "PATCH"])
def test_promoted_snapshot_refuses_changes(browser: Browser, promote: Any) -> None:
    create(browser)
    response = promote(browser, status="RELEASE", dependencies=DEPENDENCIES)
    assert (response.status_code, response.json()["status"]) == (200, "RELEASE")
    assert publish(browser, "1.0.0", dependencies=OTHER_DEPENDENCIES).json() == RELEASED
    assert edit(browser, status="SNAPSHOT").status_code == 400
    assert publish(browser, "1.0.0", status="RELEASE", dependencies=DEPENDENCIES).status_code == 200


def test_deprecated_snapshot_may_be_replaced(browser: Browser) -> None:
    create(browser)
    edit(browser, status="DEPRECATED")
    response = publish(browser, "1.0.0", dependencies=DEPENDENCIES)
    assert (response.status_code, response.json()["status"]) == (200, "SNAPSHOT")


def test_bad_status_is_refused(browser: Browser) -> None:
    statuses = ["DEPRECATED", "release", "", "FINAL", "RELEASE "]  # only an edit deprecates
    assert [create(browser, status=status).status_code for status in statuses] == [400] * 5
    create(browser)
    assert [publish(browser, "2.0.0", status=status).status_code for status in statuses] == [400] * 5
    assert versions(browser) == ["1.0.0"]


def test_replaced_snapshot_may_have_other_build_metadata(browser: Browser) -> None:
    create(browser, version="1.0.0+a")
    assert publish(browser, "1.0.0+b").json()["version"] == "1.0.0+b"
    assert versions(browser) == ["1.0.0+b"]


# --- Versions --------------------------------------------------------------------------------------------------------

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


def test_older_version_does_not_become_newest(browser: Browser) -> None:
    create(browser, version="2.0.0")
    assert publish(browser, "1.0.0", dependencies=DEPENDENCIES).json()["dependencies"] == DEPENDENCIES
    newest = browser.get(DEMO).json()
    assert (newest["version"], newest["dependencies"]) == ("2.0.0", [])


def test_edit_changes_the_newest_version(browser: Browser) -> None:
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


def test_bad_version_is_refused(browser: Browser) -> None:
    assert [version for version in BAD_VERSIONS if create(browser, version=version).status_code != 400] == []
    create(browser)
    assert [version for version in BAD_VERSIONS if publish(browser, version).status_code != 400] == []
    assert versions(browser) == ["1.0.0"]


def test_longest_version_is_accepted(browser: Browser) -> None:
    version = "1.0.0-" + "a" * 121
    assert create(browser, version=version).json()["version"] == version


def test_description_and_keywords_are_carried_over(browser: Browser) -> None:
    create(browser, description="你好", keywords=["fast", "small"])
    published = publish(browser, "2.0.0").json()
    assert (published["description"], published["keywords"]) == ("你好", ["fast", "small"])


def test_description_and_keywords_belong_to_a_version(browser: Browser) -> None:
    create(browser, description="first", keywords=["fast"])
    published = publish(browser, "2.0.0", description="", keywords=[]).json()
    assert (published["description"], published["keywords"]) == ("", [])
    older = browser.get(f"{DEMO}/versions/1.0.0").json()
    assert (older["description"], older["keywords"]) == ("first", ["fast"])


def test_dependencies_are_not_carried_over(browser: Browser) -> None:
    create(browser, dependencies=DEPENDENCIES, dev_dependencies=OTHER_DEPENDENCIES)
    published = publish(browser, "2.0.0").json()
    assert (published["dependencies"], published["dev_dependencies"]) == ([], [])


@pytest.mark.parametrize("change", [partial(publish, version="2.0.0"), partial(edit, description="x")])
def test_every_change_updates_the_date(browser: Browser, change: Any) -> None:
    create(browser)
    Package.objects.update(updated_at=timezone.now() - timedelta(days=9))
    assert change(browser).json()["last_updated"] == f"{timezone.now():%Y-%m-%d}"


def test_type_stays_unless_sent(browser: Browser) -> None:
    create(browser, type="PRIVATE")
    assert publish(browser, "2.0.0").json()["type"] == "PRIVATE"
    assert edit(browser, description="x").json()["type"] == "PRIVATE"
    assert publish(browser, "3.0.0", type="PUBLIC").json()["type"] == "PUBLIC"


# --- Dependencies ----------------------------------------------------------------------------------------------------

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


def refusal_of(validate: Callable[[str], None], text: str) -> str:
    """Return the message of a refusal, or nothing."""
    try:
        validate(text)
    except Invalid as error:
        return error.message
    return ""


validate_range = partial(ranges.validate, ecosystem="npm")
validate_name = partial(names.validate, ecosystem="npm")


def test_good_ranges_are_accepted() -> None:
    assert [text for text in GOOD_RANGES if refusal_of(validate_range, text)] == []


def test_bad_ranges_are_refused() -> None:
    assert [text for text in BAD_RANGES if "is not understood" not in refusal_of(validate_range, text)] == []


SLOW_RANGES = [
    "| ".join([", ".join(["1"] * 14)] * 3)[:126] + "!",
    "| ".join(["1"] * 42) + "!",
    "  ".join(["1"] * 42) + "!",
    "1-" * 63 + "!",
    "1." * 63 + "!",
    "| ".join(["1, 1, 1, 1"] * 10)[:126] + "!",
]


def test_no_range_takes_long_to_validate() -> None:
    # A regular expression can try billions of ways to match. Only a process of its own can be stopped then.
    code = (
        "from packages import ranges\n"
        f"for text in {SLOW_RANGES!r}:\n"
        "    try:\n        ranges.validate(text, 'npm')\n    except ranges.Invalid:\n        pass"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, timeout=60, check=True)


@pytest.mark.parametrize("field", ["dependencies", "dev_dependencies"])
def test_bad_dependency_name_is_refused(browser: Browser, field: str) -> None:
    for name in ("", " ", "\t", "a\nb", "a\u200bb", "a\u202eb", "x" * 128):
        response = create(browser, **{field: [{"name": name, "version": "1"}]})
        assert (name, response.status_code, set(response.json())) == (name, 400, {"error", "message"})
    assert not Package.objects.exists()


def test_dependency_names_of_any_ecosystem_are_accepted(browser: Browser) -> None:
    names = ["core", "acme/core", "@scope/core", "org.example:core", "数据库", "x" * 127]
    dependencies = [{"name": name, "version": "1"} for name in names]
    assert create(browser, dependencies=dependencies).json()["dependencies"] == dependencies


@pytest.mark.parametrize("field", ["dependencies", "dev_dependencies"])
def test_repeated_dependency_is_refused(browser: Browser, field: str) -> None:
    response = create(browser, **{field: [{"name": "a", "version": version} for version in ("1", "2")]})
    message = "A dependency is named twice."
    assert (response.status_code, response.json()) == (400, {"error": "dependencies_invalid", "message": message})


def test_dependency_may_be_for_development_too(browser: Browser) -> None:
    assert create(browser, dependencies=DEPENDENCIES, dev_dependencies=DEPENDENCIES).status_code == 200


def test_number_of_dependencies_is_limited(browser: Browser) -> None:
    dependencies = [{"name": f"p{number}", "version": "1"} for number in range(1001)]
    assert create(browser, dependencies=dependencies).status_code == 400
    assert create(browser, dependencies=dependencies[:1000]).status_code == 200


# --- Names -----------------------------------------------------------------------------------------------------------

GOOD_NAMES = [
    "a",
    "A1",
    "0",
    "my-package",
    "my.package_2",
    "a..b",
    "x" * 214,
    "数据库",
    "中" * 71,
    "vue中文",
    "データ",
    "サーバー",
    "ひらがな",
    "佐々木",
    "데이터",
    "ㄅㄆㄇ",
    "㐀",
    "𠮷",
    "@a/b",
    "@my-scope/my.package",
    "@作者/数据库",
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
    "@a",
    "@a/",
    "@/b",
    "@a/b/c",
    "@@a/b",
    "@a/@b",
    "@.a/b",
    "@a/-b",
    "@а/b",  # noqa: RUF001 - a Cyrillic letter
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


def test_good_names_are_accepted() -> None:
    assert [name for name in GOOD_NAMES if refusal_of(validate_name, name)] == []


def test_bad_names_are_refused() -> None:
    assert [name for name in BAD_NAMES if "is not allowed" not in refusal_of(validate_name, name)] == []


def test_package_answers_to_its_name_in_any_case(browser: Browser) -> None:
    for name in ("数据库", "Database", "데이터", "a..b"):
        assert create(browser, name).json()["package_name"] == name
        assert browser.get(f"{PACKAGES}/{name.upper()}").json()["package_name"] == name


# --- The trash -------------------------------------------------------------------------------------------------------


@pytest.fixture
def removed(browser: Browser) -> Package:
    """A package of two versions in the trash."""
    create(browser, description="zebra")
    publish(browser, "2.0.0")
    assert browser.delete(DEMO).json() == {"status": "ok"}
    return Package.objects.get()


def set_removal_age(package: Package, **since: int) -> None:
    Package.objects.filter(pk=package.pk).update(removed_at=timezone.now() - timedelta(**since))


def test_removed_package_is_missing(browser: Browser, removed: Package) -> None:
    for path in ("", "/versions", "/versions/1.0.0", "/versions/1.0.0/download", "/collaborators"):
        response = browser.get(DEMO + path)
        assert (response.status_code, response.json()) == (404, MISSING)


def test_lists_leave_out_removed_package(browser: Browser, removed: Package) -> None:
    assert browser.get(PACKAGES).json() == browser.get("/packages?query=demo").json() == []


def test_second_removal_has_no_effect(browser: Browser, removed: Package) -> None:
    response = browser.delete(DEMO)
    assert (response.status_code, response.content) == (204, b"")


def test_removed_package_cannot_be_published(browser: Browser, removed: Package) -> None:
    response = publish(browser, "3.0.0")
    assert (response.status_code, response.json()) == (400, MISSING)
    assert edit(browser, description="x").status_code == 404


def test_name_in_the_trash_stays_reserved(browser: Browser, removed: Package) -> None:
    for name in ("demo", "DEMO"):
        response = create(browser, name)
        assert (response.status_code, response.json()["error"]) == (400, "name_taken")


def test_restored_package_has_all_its_versions(browser: Browser, removed: Package, as_root: Client) -> None:
    assert "1 restored" in run_action(as_root, ADMIN, "restore", removed)
    assert versions(browser) == ["2.0.0", "1.0.0"]
    assert [package["version"] for package in browser.get("/packages?query=zebra").json()] == ["2.0.0"]
    assert publish(browser, "3.0.0").status_code == 200


def test_staff_remove_and_restore_a_package(browser: Browser, as_root: Client) -> None:
    create(browser)
    package = Package.objects.get()
    assert "1 removed" in run_action(as_root, ADMIN, "remove", package)
    assert browser.get(DEMO).status_code == 404
    assert "0 removed, 1 unchanged." in run_action(as_root, ADMIN, "remove", package)
    assert "1 restored" in run_action(as_root, ADMIN, "restore", package)
    assert "0 restored" in run_action(as_root, ADMIN, "restore", package)


def test_admin_cannot_delete_a_package(browser: Browser, as_root: Client) -> None:
    create(browser)
    package = Package.objects.get()
    assert as_root.post(f"{ADMIN}{package.pk}/delete/", {"post": "yes"}).status_code == 403
    run_action(as_root, ADMIN, "delete_selected", package)
    assert browser.get(DEMO).status_code == 200


def test_purge_keeps_recently_removed_package(browser: Browser, removed: Package, capsys: Any) -> None:
    set_removal_age(removed, days=13, hours=23)
    call_command("purge")
    assert "0 packages deleted for good." in capsys.readouterr().out
    assert create(browser).json()["error"] == "name_taken"


def test_purge_frees_the_name_of_a_package(browser: Browser, removed: Package, capsys: Any) -> None:
    set_removal_age(removed, days=14, hours=1)
    call_command("purge")
    assert "1 packages deleted for good." in capsys.readouterr().out
    assert create(browser).status_code == 200
    assert versions(browser) == ["1.0.0"]


def test_purge_keeps_packages_in_use(browser: Browser) -> None:
    create(browser)
    call_command("purge")
    assert browser.get(DEMO).status_code == 200


# --- Transfer --------------------------------------------------------------------------------------------------------


@pytest.fixture
def acme(bob: User) -> Namespace:
    """A namespace of bob."""
    return membership.create_namespace(Principal(bob), "acme")


def transfer(client: Client, package: Package, namespace: Namespace) -> str:
    """Move a package to another namespace as staff do; return the page that follows."""
    return run_action(client, ADMIN, "transfer", package, namespace=namespace.name)


def test_transfer_moves_package_to_other_namespace(browser: Browser, as_root: Client, acme: Namespace) -> None:
    create(browser, description="zebra")
    assert "1 transferred." in transfer(as_root, Package.objects.get(), acme)
    package = browser.get("/namespaces/acme/packages/demo").json()
    assert (package["namespace"], package["namespace_id"], package["version"]) == ("acme", str(acme.pk), "1.0.0")
    assert browser.get(DEMO).status_code == 404
    assert browser.get(PACKAGES).json() == []


def test_second_transfer_to_a_namespace_is_none(browser: Browser, root: User, acme: Namespace) -> None:
    create(browser)
    package = Package.objects.get()
    assert [releasing.transfer_package(package, acme, actor=root) for _ in range(2)] == [True, False]
    assert AuditEvent.objects.filter(action="package.transfer").count() == 1


def test_transfer_updates_the_search_index(browser: Browser, as_root: Client, acme: Namespace) -> None:
    create(browser)
    transfer(as_root, Package.objects.get(), acme)
    hits = [len(browser.get(f"/packages?query={query}").json()) for query in ("alice", "acme", "acme/demo")]
    assert hits == [0, 1, 1]


def test_transfer_is_undone_unless_moved_again(
    browser: Browser, as_root: Client, acme: Namespace, alice: User, root: User
) -> None:
    create(browser)
    transfer(as_root, Package.objects.get(), acme)
    assert "1 moved back." in undo_run(as_root)
    assert str(Package.objects.get()) == "alice/demo"
    transfer(as_root, Package.objects.get(), acme)
    releasing.transfer_package(Package.objects.get(), Namespace.objects.get(user=root), actor=root)
    assert "was moved again since." in undo_run(as_root)
    assert str(Package.objects.get()) == "root/demo"


def test_transfer_keeps_collaborators(browser: Browser, as_root: Client, acme: Namespace) -> None:
    create(browser)
    transfer(as_root, Package.objects.get(), acme)
    assert browser.send("PUT", "/namespaces/acme/packages/demo", version="2.0.0").status_code == 200
    assert Collaboration.objects.get().user.username == "alice"


@pytest.mark.parametrize("name", ["demo", "DEMO"])
def test_transfer_to_a_taken_name_is_refused(
    browser: Browser, as_root: Client, acme: Namespace, bob: User, name: str
) -> None:
    create(browser)
    fields = {"package_name": name, "version": "9.0.0", "field": "npm"}
    Browser(bob).send("POST", "/namespaces/acme/packages", **fields)
    page = transfer(as_root, Package.objects.get(namespace__name="alice"), acme)
    assert "has a package &#x27;demo&#x27; already, perhaps in the trash." in page
    assert browser.get(DEMO).json()["version"] == "1.0.0"
    assert browser.get("/namespaces/acme/packages/demo").json()["version"] == "9.0.0"
    assert "package.transfer" not in [action for _, action, _ in audit_trail()]


def test_transfer_to_removed_namespace_is_refused(
    browser: Browser, as_root: Client, acme: Namespace, bob: User
) -> None:
    create(browser)
    membership.remove_namespace(Principal(bob), "acme")
    assert "There is no such namespace." in transfer(as_root, Package.objects.get(), acme)
    assert browser.get(DEMO).status_code == 200


def test_transfer_of_removed_package_is_refused(as_root: Client, removed: Package, acme: Namespace) -> None:
    assert "There is no package" in transfer(as_root, removed, acme)
    assert Package.objects.get().namespace.name == "alice"


# --- Audit log -------------------------------------------------------------------------------------------------------


def test_audit_log_records_each_change(browser: Browser, as_root: Client, acme: Namespace) -> None:
    create(browser)
    publish(browser, "2.0.0")
    edit(browser, status="DEPRECATED")
    browser.delete(DEMO)
    run_action(as_root, ADMIN, "restore", Package.objects.get())
    transfer(as_root, Package.objects.get(), acme)
    assert audit_trail() == [
        ("alice", "package.create", "alice/demo"),
        ("alice", "package.publish", "alice/demo 2.0.0"),
        ("alice", "package.edit", "alice/demo 2.0.0"),
        ("alice", "package.remove", "alice/demo"),
        ("root", "package.restore", "alice/demo"),
        ("root", "package.transfer", "acme/demo"),
    ]


def test_audit_event_has_address_and_detail(browser: Browser) -> None:
    upload_archive(browser, "POST", PACKAGES, DEMO_TGZ, package_name="demo", version="1.0.0", field="npm")
    publish(browser, "2.0.0", status="RELEASE")
    event = AuditEvent.objects.get(action="package.publish")
    assert (event.ip_address, event.detail) == ("127.0.0.1", {"status": "RELEASE", "sha256": ""})


def test_audit_log_leaves_out_refusals(browser: Browser, charlie: User) -> None:
    create(browser)
    before = audit_trail()
    publish(browser, "2")
    Browser(charlie).delete(DEMO)
    Browser(charlie).send("PUT", DEMO, version="2.0.0")
    assert audit_trail() == before


# --- Concurrency, on a running server --------------------------------------------------------------------------------

RACERS = 32
OWNERS = ("alice", "bob", "charlie", "dora")


@pytest.fixture(scope="module")
def owners(server: Server) -> list[LiveBrowser]:
    """Browsers of four owners of the namespace `all`."""
    browsers = [LiveBrowser(server, name) for name in OWNERS]
    browsers[0].send("POST", "/namespace", namespace="all")
    members = [{"username": name, "role": "OWNER"} for name in OWNERS[1:]]
    assert browsers[0].send("POST", "/namespace/all/members", members=members).status == 200
    return browsers


def creation(browser: LiveBrowser, name: str, namespace: str = "all") -> partial[Response]:
    """Return a call that creates a package."""
    path = f"/namespaces/{namespace}/packages"
    return partial(browser.send, "POST", path, package_name=name, version="1.0.0", field="npm")


def publication(
    browser: LiveBrowser, name: str, version: str, number: int, namespace: str = "all"
) -> partial[Response]:
    """Return a call that publishes a release; its content differs for each number."""
    path = f"/namespaces/{namespace}/packages/{name}"
    dependencies = [{"name": "a", "version": str(number)}]
    return partial(browser.send, "PUT", path, version=version, status="RELEASE", dependencies=dependencies)


def test_one_of_many_publishers_wins_a_version(owners: list[LiveBrowser]) -> None:
    creation(owners[0], "version")()
    answers = run_concurrently(
        [publication(owners[number % 4], "version", "2.0.0", number) for number in range(RACERS)]
    )
    assert count_statuses(answers) == {200: 1, 400: RACERS - 1}
    (winner,) = [number for number, answer in enumerate(answers) if answer.status == 200]
    release = owners[0].send("GET", "/namespaces/all/packages/version/versions/2.0.0").body
    assert release["dependencies"] == [{"name": "a", "version": str(winner)}]
    assert {answer.body["error"] for answer in answers if answer.status == 400} == {"version_released"}


def test_concurrent_versions_are_all_published(owners: list[LiveBrowser]) -> None:
    creation(owners[0], "many")()
    answers = run_concurrently(
        [publication(owners[number % 4], "many", f"1.0.{number + 1}", 1) for number in range(RACERS)]
    )
    assert count_statuses(answers) == {200: RACERS}
    assert owners[0].send("GET", "/namespaces/all/packages/many").body["version"] == f"1.0.{RACERS}"


def test_one_of_many_creators_wins_a_name(owners: list[LiveBrowser]) -> None:
    spellings = ["name", "NAME", "Name", "nAME"]
    answers = run_concurrently([creation(owners[number % 4], spellings[number // 4 % 4]) for number in range(RACERS)])
    assert count_statuses(answers) == {200: 1, 400: RACERS - 1}
    assert {answer.body["error"] for answer in answers if answer.status == 400} == {"name_taken"}
    assert owners[0].send("GET", "/namespaces/all/packages/name").status == 200


def test_removal_wins_over_concurrent_publishers(owners: list[LiveBrowser]) -> None:
    for round_ in range(3):
        name = f"gone{round_}"
        path = f"/namespaces/all/packages/{name}"
        creation(owners[0], name)()
        publishers = [publication(owners[number % 4], name, f"2.0.{number}", 1) for number in range(12)]
        removal = partial(owners[1].send, "DELETE", path)
        answers = run_concurrently([*publishers[:6], removal, *publishers[6:]])
        assert set(count_statuses(answers)) <= {200, 400}
        assert answers[6].body == {"status": "ok"}
        assert owners[0].send("GET", path).status == 404
        assert creation(owners[0], name)().body["error"] == "name_taken"


def test_removal_of_namespace_leaves_no_orphans(server: Server, owners: list[LiveBrowser]) -> None:
    alice = owners[0]
    acknowledged = 0
    for round_ in range(3):
        namespace = f"space{round_}"
        alice.send("POST", "/namespace", namespace=namespace)
        members = [{"username": name, "role": "OWNER"} for name in OWNERS[1:]]
        assert alice.send("POST", f"/namespace/{namespace}/members", members=members).status == 200
        creation(alice, "old", namespace)()
        # Several accounts, as the requests of one account wait for each other anyway.
        racers = [creation(owners[number % 4], f"new{number}", namespace) for number in range(8)]
        racers += [publication(owners[number % 4], "old", f"2.0.{number}", 1, namespace) for number in range(8)]
        *answers, removal = run_concurrently([*racers, partial(alice.send, "DELETE", f"/namespace/{namespace}")])
        assert set(count_statuses([*answers, removal])) <= {200, 400}
        assert alice.send("GET", f"/namespaces/{namespace}/packages/old").status == 404
        acknowledged += 1 + sum(answer.status == 200 for answer in answers)
    code = (
        "from packages.models import Package, Release; "
        "packages = Package.objects.filter(namespace__name__startswith='space', namespace__removed_at__isnull=False); "
        "releases = Release.objects.filter(package__in=packages); "
        "print(releases.count(), Package.objects.filter(newest=None).count(), packages.exclude(search_name='').count())"
    )
    assert server.manage("shell", "-v", "0", "-c", code) == f"{acknowledged} 0 0"


@pytest.mark.parametrize("kind", ["members", "collaborators"])
def test_two_owners_cannot_demote_each_other(owners: list[LiveBrowser], kind: str) -> None:
    alice, bob, charlie, _ = owners
    namespace = f"duel-{kind}"
    alice.send("POST", "/namespace", namespace=namespace)
    creation(alice, "demo", namespace)()
    package = f"/namespace/{namespace}/packages/demo"
    path = f"/namespace/{namespace}/members" if kind == "members" else f"{package}/collaborators"
    for name in ("bob", "charlie"):
        assert alice.send("POST", path, username=name, role="OWNER").status == 200
    alice.send("DELETE", f"{path}/alice")
    for _ in range(4):
        answers = run_concurrently(
            [
                partial(bob.send, "PATCH", f"{path}/charlie", role="READ_ONLY"),
                partial(charlie.send, "PATCH", f"{path}/bob", role="READ_ONLY"),
            ]
        )
        assert sorted(answer.status for answer in answers) == [200, 403]
        winner, loser = (bob, "charlie") if answers[0].status == 200 else (charlie, "bob")
        assert winner.send("PATCH", f"{path}/{loser}", role="OWNER").status == 200
