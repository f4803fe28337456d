# ruff: noqa: RUF001 - letters of many scripts stand here on purpose
"""Ecosystems without SemVer: versions and names of any letters, in order of time. And the scopes of npm."""

from functools import partial
from typing import Any
from urllib.parse import quote

from django.utils.http import parse_header_parameters

from packages import names, ranges
from packages.models import Release
from registry_site.errors import Invalid
from tests.support.browser import Browser
from tests.support.package_archives import DEMO_TGZ, upload_archive

PACKAGES = "/namespaces/alice/packages"


def create(browser: Browser, name: str, version: str = "1.0.0", field: str = "python", **fields: Any) -> Any:
    return browser.send("POST", PACKAGES, package_name=name, version=version, field=field, **fields)


def path_of(name: str, *segments: str) -> str:
    """Return a path beneath a package, with each of its parts encoded whole."""
    return "/".join([PACKAGES, *(quote(part, safe="") for part in (name, *segments))])


def publish(browser: Browser, name: str, version: str, **fields: Any) -> Any:
    return browser.send("PUT", path_of(name), version=version, **fields)


def listed_versions(browser: Browser, name: str) -> list[str]:
    return [release["version"] for release in browser.get(path_of(name, "versions")).json()]


def newest_version(browser: Browser, name: str) -> Any:
    return browser.get(path_of(name)).json()["version"]


def results_of(browser: Browser, query: str) -> list[str]:
    return [package["package_name"] for package in browser.get("/packages", {"query": query}).json()]


def refuses(validate: Any, *arguments: str) -> bool:
    try:
        validate(*arguments)
    except Invalid:
        return True
    return False


# --- Ecosystems ------------------------------------------------------------------------------------------------------


def test_semver_is_required_where_the_ecosystem_has_it(browser: Browser) -> None:
    fields = {"npm": 400, "NPM": 400, "js": 400, "rust": 400, " Cargo ": 400, "Node.js": 400, "helm": 400}
    fields |= {"java": 200, "python": 200, "debian": 200, "go": 200, "数据": 200, "npm2": 200}
    answers = {field: create(browser, f"p{number}", "1.0", field) for number, field in enumerate(fields)}
    assert {field: answer.status_code for field, answer in answers.items()} == fields


# --- Versions --------------------------------------------------------------------------------------------------------

GOOD_VERSIONS = [
    *("1", "1.0", "v1.0.0", "2024.11", "1:2.3-1", "1.0.0.0", "01.0", "1.0.post1.dev2", "1!2.0+local", "5.3.2.RELEASE"),
    *("2.0~rc1+dfsg-1ubuntu2", "1.0-SNAPSHOT", "r4711", "latest", "-", "...", "a..b", "..a", "1.0 beta 2", "50%"),
    *("%2e", "%2F", "a?b", "a#b", "a&b=c;d,e", "<b>", "'\"", "@1", "~", "第一版", "версия-2", "नमस्ते", "1\u0301", "🙂"),
    *("x" * 127, "𠮷" * 127),
]
BAD_VERSIONS = [
    *("", " ", ".", "..", "/", "a/b", "../x", "\\", "a\\b", " 1.0", "1.0 ", "\u30001", "1\n", "1\t0", "1\x000", "\x7f"),
    *("1\x850", "1\u200b0", "1\u200d0", "\ufeff1", "1\u00ad0", "1\u202e0", "\u2066", "1\u20280", "1\u00a00", "\u3164"),
    *("1\ufe0f", "1\U000e0101", "\ue000", "\U0010ffff", "\u115f", "x" * 128),
]


def test_any_versions_are_taken(browser: Browser) -> None:
    create(browser, "demo", "first")
    answers = {version: publish(browser, "demo", version) for version in GOOD_VERSIONS}
    offenders = [version for version, answer in answers.items() if answer.status_code != 200]
    offenders += [
        version
        for version in GOOD_VERSIONS
        if browser.get(path_of("demo", "versions", version)).json().get("version") != version
    ]
    assert offenders == []
    assert listed_versions(browser, "demo") == [*reversed(GOOD_VERSIONS), "first"]


def test_versions_that_deceive_are_refused(browser: Browser) -> None:
    create(browser, "demo")
    answers = {version: publish(browser, "demo", version) for version in BAD_VERSIONS}
    offenders = [
        version
        for version, answer in answers.items()
        if answer.status_code != 400 or set(answer.json()) != {"error", "message"}
    ]
    assert (offenders, listed_versions(browser, "demo")) == ([], ["1.0.0"])


def test_refusal_names_versions_that_are_taken(browser: Browser) -> None:
    message = (
        "The version 'a/b' is not allowed: use a text such as 1.0, v1.0.0, 2024.11 or 1:2.3-1, without / and \\, "
        "and without blanks at its ends."
    )
    assert create(browser, "demo", "a/b").json() == {"error": "version_invalid", "message": message}


def test_released_text_version_never_changes(browser: Browser) -> None:
    create(browser, "demo", "1.0", status="RELEASE")
    assert publish(browser, "demo", "1.0", dependencies=[{"name": "a", "version": "1"}]).status_code == 400
    assert publish(browser, "demo", "1.0+b", status="RELEASE").status_code == 200
    assert listed_versions(browser, "demo") == ["1.0+b", "1.0"]


def test_spellings_of_a_version_are_one(browser: Browser) -> None:
    create(browser, "demo", "caf\u00e9")
    assert publish(browser, "demo", "cafe\u0301").json()["version"] == "caf\u00e9"
    assert browser.get(path_of("demo", "versions", "cafe\u0301")).json()["version"] == "caf\u00e9"
    assert listed_versions(browser, "demo") == ["caf\u00e9"]


def test_case_tells_text_versions_apart(browser: Browser) -> None:
    create(browser, "demo", "1.0-RC1")
    publish(browser, "demo", "1.0-rc1")
    assert listed_versions(browser, "demo") == ["1.0-rc1", "1.0-RC1"]


# --- Their order -----------------------------------------------------------------------------------------------------


def test_last_release_is_the_newest(browser: Browser) -> None:
    published = ["2024.11", "1:2.3-1", "v1.0.0", "2.0.0", "1.0"]
    create(browser, "demo", published[0])
    for version in published[1:]:
        publish(browser, "demo", version)
        assert newest_version(browser, "demo") == version
    assert browser.get(PACKAGES).json()[0]["version"] == "1.0"
    assert browser.get("/packages?query=demo").json()[0]["version"] == "1.0"
    assert listed_versions(browser, "demo") == published[::-1]


def test_release_of_the_same_moment_follows_its_id(browser: Browser) -> None:
    create(browser, "demo", "b")
    publish(browser, "demo", "a")
    Release.objects.update(published_at=Release.objects.earliest("pk").published_at)
    assert listed_versions(browser, "demo") == ["a", "b"]


def test_replaced_snapshot_becomes_the_newest(browser: Browser) -> None:
    create(browser, "demo", "1.0-SNAPSHOT")
    publish(browser, "demo", "2.0")
    publish(browser, "demo", "1.0-SNAPSHOT", description="again")
    assert (newest_version(browser, "demo"), listed_versions(browser, "demo")[0]) == ("1.0-SNAPSHOT",) * 2


def test_republished_release_does_not_become_newest(browser: Browser) -> None:
    create(browser, "demo", "1.0", status="RELEASE")
    publish(browser, "demo", "2.0")
    assert publish(browser, "demo", "1.0", status="RELEASE").json()["version"] == "1.0"
    assert newest_version(browser, "demo") == "2.0"


def test_edit_changes_the_last_release(browser: Browser) -> None:
    create(browser, "demo", "2.0")
    publish(browser, "demo", "1.0")
    assert browser.send("PATCH", path_of("demo"), status="DEPRECATED").json()["version"] == "1.0"


# --- Names -----------------------------------------------------------------------------------------------------------

GOOD_NAMES = [
    *(
        "a",
        "0",
        "my.package_2",
        "a..b",
        "x" * 214,
        "g++",
        "libstdc++6",
        "c++-doc",
        "数据库",
        "vue中文",
        "データ",
        "𠮷",
        "〇",
    ),
    *(
        "привет",
        "αλφα",
        "ελληνικά",
        "café",
        "straße",
        "Ünïcode",
        "שלום",
        "عربي",
        "فارسی",
        "हिन्दी",
        "ไทย",
        "မြန်မာ",
        "ខ្មែរ",
    ),
    *("བོད་ཡིག".replace("་", "-"), "አማርኛ", "ქართული", "հայերեն", "தமிழ்", "㐀", "데이터", "٣", "Ⅳ", "ﾗｲﾌﾞ", "ŉ"),
]
BAD_NAMES = [
    *("", " ", ".", "..", "-", "+", ".a", "a.", "-a", "a-", "a b", "a/b", "a\\b", "a:b", "a@b", "@a/b", "a%b", "a?b"),
    *(
        "a#b",
        "a\nb",
        "a\n",
        "a\0b",
        "+a",
        "a+++",
        "a\u200bb",
        "a\u200db",
        "a\ufeffb",
        "a\u00adb",
        "a\u202eb",
        "\u2066a",
    ),
    *(
        "\u0301a",
        "-\u0301a",
        "q\u0301\u0302\u0303\u0304\u0305",
        "中\ufe00",
        "\u3164",
        "a\u115f",
        "a\u180bb",
        "🙂",
        "①",
        "²",
    ),
    *("中\u3000文", "中。", "\ufdfa", "\ufc5e", "\ue000", "\U0010ffff", "x" * 215, "中" * 72, "ﷲ" * 71, "½"),
]


def test_names_of_any_letters_are_taken(browser: Browser) -> None:
    answers = {name: create(browser, name) for name in GOOD_NAMES}
    offenders = [name for name, answer in answers.items() if answer.status_code != 200]
    offenders += [name for name in GOOD_NAMES if browser.get(path_of(name)).json().get("package_name") != name]
    assert offenders == []


def test_names_that_deceive_are_refused(browser: Browser) -> None:
    validate = partial(names.validate, ecosystem="python")
    assert [name for name in BAD_NAMES if not refuses(validate, name)] == []
    answers = [create(browser, name) for name in BAD_NAMES]
    assert [answer.json() for answer in answers if answer.status_code != 400] == []


def test_ecosystems_with_semver_keep_their_letters() -> None:
    offenders = [name for name in ("привет", "café", "g++", "ไทย") if not refuses(names.validate, name, "rust")]
    offenders += [name for name in ("demo", "数据库", "a.b") if refuses(names.validate, name, "rust")]
    assert offenders == []


def test_name_is_stored_in_one_spelling(browser: Browser) -> None:
    assert create(browser, "cafe\u0301").json()["package_name"] == "caf\u00e9"
    assert browser.get(path_of("cafe\u0301")).json()["package_name"] == "caf\u00e9"


def test_names_answer_in_any_case(browser: Browser) -> None:
    for name, other in (("Привет", "ПРИВЕТ"), ("straße", "STRASSE"), ("ΣΟΦΟΣ", "σοφος"), ("ｄｅｍｏ", "DEMO")):
        create(browser, name)
        assert browser.get(path_of(other)).json()["package_name"] == name
        assert create(browser, other).json()["error"] == "name_taken"


LOOK_ALIKES = {
    "demo": ("dеmо", "DЕМO", "ԁemo", "dem\u03bf"),
    "Beta": ("Вeta", "Βeta", "ΒΕΤΑ"),
    "input": ("іnput", "Іnput", "ınput"),
    "paypal": ("раураl",),
    "café": ("cаf\u00e9", "cafе\u0301"),
    "привет": ("пpивeт",),
}


def test_name_that_looks_like_another_is_refused(browser: Browser) -> None:
    offenders = []
    for name, others in LOOK_ALIKES.items():
        assert create(browser, name).status_code == 200
        for other in others:
            answer = create(browser, other)
            message = f"alice has a package whose name looks like {other!r} already, perhaps in the trash."
            if (answer.status_code, answer.json()) != (400, {"error": "name_taken", "message": message}):
                offenders.append((name, other, answer.json()))
    assert offenders == []


def test_look_alike_of_a_name_does_not_answer(browser: Browser) -> None:
    create(browser, "demo")
    assert browser.get(path_of("dеmo")).status_code == 404


def test_names_of_the_former_rule_keep_their_form() -> None:
    letters = filter(names.is_letter_or_digit, map(chr, [*range(0xD800), *range(0xE000, 0x40000)]))
    offenders = [letter for letter in letters if set(list(names.columns(letter).values())[1:]) != {letter.lower()}]
    assert offenders == []


def test_search_finds_names_of_any_letters(browser: Browser) -> None:
    for name in GOOD_NAMES:
        create(browser, name)
    offenders = {name: results_of(browser, name) for name in GOOD_NAMES if results_of(browser, name)[:1] != [name]}
    assert offenders == {}


# --- Scopes ----------------------------------------------------------------------------------------------------------

SCOPED = "@scope/name"
SPELLINGS = ("@scope/name", "@scope%2fname", "@scope%2Fname", "%40scope%2Fname", "@SCOPE/Name")


def test_scoped_name_answers_in_each_spelling(browser: Browser) -> None:
    fields = {"package_name": SCOPED, "version": "1.0.0", "field": "npm"}
    assert upload_archive(browser, "POST", PACKAGES, DEMO_TGZ, **fields).json()["package_name"] == SCOPED
    suffixes = ("", "/versions", "/versions/1.0.0", "/versions/1.0.0/download", "/collaborators")
    paths = [f"{PACKAGES}/{name}{suffix}" for name in SPELLINGS for suffix in suffixes]
    assert [path for path in paths if browser.head(path).status_code != 200] == []


def test_scoped_package_lives_like_others(browser: Browser, bob: Any) -> None:
    create(browser, SCOPED, field="npm")
    path = f"{PACKAGES}/@scope%2fname"
    assert browser.send("PUT", path, version="1.1.0").json()["name"] == SCOPED
    assert browser.send("PATCH", path, status="DEPRECATED").json()["status"] == "DEPRECATED"
    assert browser.send("POST", f"{path}/collaborators", username="bob", role="MEMBER").status_code == 200
    assert browser.send("PATCH", f"{path}/collaborators/bob", role="MANAGER").json()["role"] == "MANAGER"
    assert browser.delete(f"{path}/collaborators/bob").status_code == 200
    assert browser.delete(path).json() == {"status": "ok"}
    assert browser.get(path).status_code == 404


def test_scope_is_part_of_the_name(browser: Browser) -> None:
    for name in ("name", "@a/name", "@b/name", "scope-name", SCOPED):
        assert create(browser, name, field="npm").status_code == 200
    assert create(browser, "@A/Name", field="npm").json()["error"] == "name_taken"


def test_words_of_paths_are_names_in_a_scope(browser: Browser) -> None:
    for name in ("@scope/versions", "@scope/collaborators", "@versions/versions"):
        create(browser, name, field="npm")
        answers = [browser.get(f"{PACKAGES}/{name}{suffix}") for suffix in ("", "/versions", "/versions/1.0.0")]
        assert [answer.status_code for answer in answers] == [200] * 3


def test_scopes_are_for_npm_alone(browser: Browser) -> None:
    statuses = {field: create(browser, SCOPED, field=field).status_code for field in ("rust", "python", "jsr")}
    assert statuses == {"rust": 400, "python": 400, "jsr": 200}


def test_half_a_scope_is_missing(browser: Browser) -> None:
    create(browser, SCOPED, field="npm")
    for path in ("@scope", "@scope/versions", "name", "@scope/name/x", "scope/name", "@/name", "@scope%2f", "@"):
        response = browser.get(f"{PACKAGES}/{path}")
        assert (path, response.status_code, set(response.json())) == (path, 404, {"error", "message"})
    assert browser.delete(f"{PACKAGES}/@scope").status_code == 204


def test_search_finds_scoped_names(browser: Browser) -> None:
    for name in ("scope-name", SCOPED, "@scope/name-list", "name"):
        create(browser, name, field="npm")
    queries = ("@scope/name", "@SCOPE/Name", "alice/@scope/name", "Alice/@scope/NAME")
    assert [results_of(browser, query)[0] for query in queries] == [SCOPED] * 4
    assert sorted(results_of(browser, "@scope")) == ["@scope/name", "@scope/name-list", "scope-name"]


# --- Dependencies ----------------------------------------------------------------------------------------------------

GOOD_RANGES = [
    ">= 1:2.3-1",
    "(>= 2.3~rc1), (<< 3)",
    "1.0.post1",
    "~=1.4.dev0",
    "[1.0,2.0)",
    "dev-master",
    "第一版",
    "*",
]
BAD_RANGES = ["", " ", " 1", "1 ", "1\n2", "1\x00", "1\u200b", "x" * 128]


def test_ranges_of_text_versions_are_texts(browser: Browser) -> None:
    validate = partial(ranges.validate, ecosystem="debian")
    assert [text for text in GOOD_RANGES if refuses(validate, text)] == []
    assert [text for text in BAD_RANGES if not refuses(validate, text)] == []
    dependencies = [{"name": f"p{number}", "version": text} for number, text in enumerate(GOOD_RANGES)]
    assert create(browser, "demo", field="npm", dependencies=dependencies).json()["error"] == "range_invalid"
    assert create(browser, "demo", field="debian", dependencies=dependencies).json()["dependencies"] == dependencies
    assert browser.send("PATCH", path_of("demo"), dependencies=dependencies[:1]).status_code == 200


# --- Downloads -------------------------------------------------------------------------------------------------------

FILE_NAMES = {
    ("demo", "1.0", "python"): "demo-1.0.tgz",
    ("libc", "1:2.3-1", "debian"): "libc-1-2.3-1.tgz",
    (SCOPED, "1.0.0", "npm"): "scope-name-1.0.0.tgz",
    ("数据库", "第一版", "python"): "数据库-第一版.tgz",
    ("quotes", "a\"b'c", "python"): "quotes-a-b'c.tgz",
    ("signs", "<a>|*?%2f;x", "python"): "signs--a-----2f;x.tgz",
    ("x" * 214, "y" * 127, "python"): f"{'x' * 214}-{'y' * 36}.tgz",
    ("中" * 71, "z" * 127, "python"): f"{'中' * 71}-{'z' * 37}.tgz",
}


def test_download_has_a_safe_file_name(browser: Browser) -> None:
    offenders = []
    for (name, version, field), expected in FILE_NAMES.items():
        fields = {"package_name": name, "version": version, "field": field}
        assert upload_archive(browser, "POST", PACKAGES, DEMO_TGZ, **fields).status_code == 200
        response = browser.get(path_of(name, "versions", version, "download"))
        _, parameters = parse_header_parameters(response["Content-Disposition"])
        if (response.getvalue(), parameters["filename"]) != (DEMO_TGZ, expected):
            offenders.append((name, version, parameters))
    assert offenders == []
