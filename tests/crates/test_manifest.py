"""Manifests: the packed `Cargo.toml` is read strictly, and the JSON has to name the same crate."""

import itertools
import json
import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crates.package import manifest
from crates.package.dependencies import CRATES_IO, KIND_BY_SECTION, Dependency, Registries
from registry_site.errors import Invalid
from tests.support import packing
from tests.support.packing import dependency, metadata
from tests.support.refusals import refusal_of

pytestmark = pytest.mark.database_independent

OWN = "sparse+http://testserver/index/"
REGISTRIES = Registries((OWN, "sparse+http://alias:8000/index/"), frozenset({CRATES_IO}))

# Everything that a resolver reads, each thing once, in both spellings.
TOML = f"""
[package]
name = "demo"
version = "1.0.0"
edition = "2021"
links = "z"
rust-version = "1.70"

[features]
full = ["dep:first", "first?/std"]
small = []

[dependencies.first]
version = ">=1.2, <2"
optional = true
default-features = false
features = ["alloc", "derive"]
package = "base"
registry-index = "{OWN}"

[target.'cfg(all(unix, target_env = "gnu"))'.build-dependencies.other]
version = "0.3"
"""
FEATURES = {"full": ["dep:first", "first?/std"], "small": []}


def parse_packed(toml: str, paths: frozenset[str] = frozenset()) -> manifest.Manifest:
    return manifest.parse_packed(toml.encode(), REGISTRIES, paths)


def parse_metadata(value: Any) -> manifest.Metadata:
    return manifest.parse_metadata(json.dumps(value).encode())


def check_claim(**changes: Any) -> None:
    """Check that JSON agrees with `TOML`; it does, but for `changes`."""
    manifest.check_agreement(parse_metadata(metadata() | changes), parse_packed(TOML))


def with_dependency(**fields: Any) -> str:
    """Return a manifest with the dependency `base`; its fields are named as in JSON."""
    return (
        packing.manifest()
        + "[dependencies.base]\n"
        + "\n".join(
            f"{key.replace('_', '-')} = {json.dumps(value)}" for key, value in {"version": "1", **fields}.items()
        )
    )


def toml_text(text: str) -> str:
    """Return a TOML string with all characters escaped but letters and digits."""
    return '"' + "".join(c if c.isalnum() and c.isascii() else f"\\U{ord(c):08x}" for c in text) + '"'


# --- Reading ----------------------------------------------------------------------------------------------------


def test_dependency_has_the_form_of_the_index() -> None:
    first, other = parse_packed(TOML).dependencies
    assert first == Dependency("first", ">=1.2, <2", ["alloc", "derive"], True, False, None, "normal", None, "base")
    assert (other.kind, other.target, other.registry, other.package) == (
        "build",
        'cfg(all(unix, target_env = "gnu"))',
        CRATES_IO,
        None,
    )


def test_features_are_read() -> None:
    assert parse_packed(TOML).features == FEATURES


def test_short_dependency_is_read() -> None:
    kinds = {}
    for section in KIND_BY_SECTION:
        (only,) = parse_packed(packing.manifest() + f'[{section}]\nbase = "1"').dependencies
        assert (only.name, only.req) == ("base", "^1")
        kinds[section] = only.kind
    assert kinds == {"dependencies": "normal", "dev-dependencies": "dev", "build-dependencies": "build"}


def test_old_spelling_is_read() -> None:
    for spelling in ("dev-dependencies", "dev_dependencies"):
        toml = packing.manifest() + f'[{spelling}.base]\nversion = "1"\ndefault_features = false'
        (only,) = parse_packed(toml).dependencies
        assert (only.kind, only.default_features) == ("dev", False)


def test_description_is_read() -> None:
    assert parse_packed(packing.manifest(extra='description = "<script>\\n\\u00e9"')).description == "<script>\n\u00e9"


def test_description_may_have_tabs_and_lines() -> None:
    assert parse_packed(packing.manifest(extra='description = "a\\tb\\r\\nc"')).description == "a\tb\r\nc"


def test_invalid_categories_are_listed_apart() -> None:
    read = parse_packed(packing.manifest(extra='categories = ["os::unix-apis", "Not A Slug", "", "a::"]'))
    assert (read.categories, read.invalid_categories) == (["os::unix-apis"], ["Not A Slug", "", "a::"])


def test_poor_description_is_warned_of() -> None:
    assert [warning.split(",")[0] for warning in parse_packed(with_dependency(version="*")).warnings()] == [
        "the crate has no description",
        "the crate has no license or license-file",
        "any version of base is accepted (`*`)",
    ]


def test_open_ended_dev_dependency_has_no_warning() -> None:
    toml = packing.manifest(extra="description = 'd'\nlicense = 'MIT'") + "[dev-dependencies]\nbase = '*'"
    assert parse_packed(toml).warnings() == []


def test_old_name_of_the_package_table_is_read() -> None:
    assert parse_packed(packing.manifest().replace("[package]", "[project]")).name == "demo"


def test_good_description_has_no_warnings() -> None:
    extra = "description = 'd'\nlicense-file = 'L'\nkeywords = {}"
    few, many = (packing.manifest(extra=extra.format(["k"] * count)) for count in (5, 6))
    assert parse_packed(few, frozenset({"L"})).warnings() == []
    (warning,) = parse_packed(many, frozenset({"L"})).warnings()
    assert warning == "the crate has 6 keywords; crates.io takes at most 5"


# What cargo packed before 1.79, on the machine of the publisher.
PRESENT = ("docs/TEXT", "./docs/TEXT", "docs//TEXT", "docs/../docs/TEXT", "docs\\TEXT")


@pytest.mark.parametrize("key", ["readme", "license-file"])
def test_missing_file_is_warned_of(key: str) -> None:
    def warnings(path: str) -> list[str]:
        extra = f"description = 'd'\nlicense = 'MIT'\n{key} = '{path}'"
        return parse_packed(packing.manifest(extra=extra), frozenset({"docs/TEXT"})).warnings()

    assert [path for path in PRESENT if warnings(path)] == []
    missing = f"the {key} '../TEXT' is not in the crate, so nobody can read it there"
    assert warnings("../TEXT") == [missing]


def test_repository_without_a_page_is_warned_of() -> None:
    extra = "description = 'd'\nlicense = 'MIT'\nrepository = '{}'"
    for address in ("ssh://git@host/a.git", "git://host/a", "git+ssh://git@host/a", "git@host:a/b.git"):
        read = parse_packed(packing.manifest(extra=extra.format(address)))
        assert (read.repository, len(read.warnings())) == (address, 1)
        assert "is no http or https URL" in read.warnings()[0]


def test_long_license_is_warned_of() -> None:
    short, long = "MIT OR " * 36 + "MIT", "MIT OR " * 37 + "MIT"
    for text, count in ((short, 0), (long, 1)):
        read = parse_packed(packing.manifest(extra=f"description = 'd'\nlicense = '{text}'"))
        assert (read.license, len(read.warnings())) == (text, count)


# --- Agreement --------------------------------------------------------------------------------------------------

# Each is what some generation of cargo sent beside a manifest that says otherwise, or what none sends.
OTHER_JSON: list[dict[str, Any]] = [
    {},
    {"deps": [dependency("first", target="cfg(any(unix,))")]},
    {"deps": None, "features": None},
    {"features": {"full": ["base/std"]}},
    {"links": "other"},
    {"rust_version": "1.71"},
    {"rust_version": None},
    {"authors": ["somebody"], "description": "another", "keywords": ["k"], "readme": "text"},
    {"unknown": {"future": True}},
]


def test_rest_of_the_json_is_ignored() -> None:
    assert [changes for changes in OTHER_JSON if refusal_of(check_claim, **changes)] == []


def test_json_about_another_crate_is_refused() -> None:
    contradictions = [
        ("name", {"name": "Demo"}),
        ("name", {"name": "demo-1"}),
        ("version", {"vers": "1.0.1"}),
        ("version", {"vers": "1.0.0+build"}),
    ]
    assert [
        (key, changes)
        for key, changes in contradictions
        if f"disagree on {key}: {next(iter(changes.values()))!r} there" not in refusal_of(check_claim, **changes)
    ] == []


# --- Artifacts and public dependencies --------------------------------------------------------------------------


def read_dependency(**fields: Any) -> dict[str, Any]:
    (only,) = parse_packed(with_dependency(**fields)).dependencies
    return only.index_entry()


def test_rare_fields_are_left_out() -> None:
    plain = read_dependency()
    assert set(plain) == {
        *("name", "req", "features", "optional", "default_features", "target", "kind", "registry", "package"),
    }
    assert read_dependency(public=False, lib=True, target="x86_64-unknown-none") == plain
    assert read_dependency(public=True) == plain | {"public": True}


def test_artifacts_have_the_form_of_the_index() -> None:
    cases: list[tuple[dict[str, Any], dict[str, Any]]] = [
        ({"artifact": "bin"}, {"artifact": ["bin"]}),
        ({"artifact": ["bin:tool", "cdylib"], "lib": True}, {"artifact": ["bin:tool", "cdylib"], "lib": True}),
        ({"artifact": "staticlib", "target": "target"}, {"artifact": ["staticlib"], "bindep_target": "target"}),
    ]
    assert [fields for fields, entry in cases if read_dependency(**fields) != read_dependency() | entry] == []


BAD_ARTIFACTS: list[dict[str, Any]] = [
    *({"artifact": value} for value in ["", [], "exe", "bin:", "bin:a/b", ["bin", "bin:a"], ["bin", "bin"], [1], 5]),
    {"artifact": "bin:" + "a" * 252},
    {"artifact": "bin", "lib": "yes"},
    {"artifact": "bin", "target": "cfg(unix)"},
    {"artifact": "bin", "target": "a b"},
]


def test_bad_artifact_is_refused() -> None:
    refusals = [(fields, refusal_of(parse_packed, with_dependency(**fields))) for fields in BAD_ARTIFACTS]
    assert [fields for fields, refusal in refusals if not re.search("artifact|lib", refusal)] == []


def test_only_normal_dependencies_are_public() -> None:
    for kind in ("dev", "build"):
        toml = packing.manifest() + f'[{kind}-dependencies.base]\nversion = "1"\npublic = true'
        assert f"is public, which a {kind}-dependency cannot be" in refusal_of(parse_packed, toml)


# --- Names in the index -----------------------------------------------------------------------------------------


# cargo 1.95 made these tables: an index line with this feature either can be resolved, or "is invalid".
FEATURE_NAMES = [
    *("a", "A", "_", "_a", "1", "0x", "a-", "a+b", "a.b"),
    *("\u00e9", "e\u0301", "\u0915\u094d\u0937", "a\u00b7b", "\u7279"),
]
BAD_FEATURES = [
    "",
    "-a",
    "+a",
    ".a",
    "a b",
    "a,b",
    "a:b",
    "a?",
    "a/b",
    "dep:a",
    "a'",
    "\u00b2",
    "a\u00b2",
    "\u00bd",
    "a\u00bd",
    "\u2460",
    "\u0301",
    "\u00b7a",
    "\u0663",
    "\U0001f980",
]
INJECTIONS = [
    'a"}',
    "a\n",
    'a","b":"',
    'a\n{"name":"b"}',
    "a\r",
    "a\u2028",
    "a\u2029",
    "a\x85",
    "a\\",
    "a\x1b[31m",
    "\ufeffa",
]


def accepted(toml: Callable[[str], str], texts: Sequence[str], word: str) -> list[str]:
    """Return the texts that a manifest may hold, or that are refused without this word."""
    return [text for text in texts if not re.search(word, refusal_of(parse_packed, toml(text)))]


def test_feature_name_is_accepted() -> None:
    for feature in FEATURE_NAMES:
        toml = packing.manifest() + f"[features]\n{toml_text(feature)} = []"
        assert list(parse_packed(toml).features) == [feature]


def test_bad_feature_name_is_refused() -> None:
    def toml(name: str) -> str:
        return packing.manifest() + f"[features]\n{toml_text(name)} = []"

    assert accepted(toml, BAD_FEATURES + INJECTIONS + ["a" * 256], "feature name") == []


def test_bad_feature_of_a_dependency_is_refused() -> None:
    def toml(name: str) -> str:
        return with_dependency() + f"\nfeatures = [{toml_text(name)}]"

    assert accepted(toml, BAD_FEATURES + INJECTIONS, "feature name") == []


BAD_NAMES = [*INJECTIONS, "1a", "-a", "a b", "a/b", "..", "\u00e9", "a" * 65]


def test_bad_name_of_a_dependency_is_refused() -> None:
    def toml(name: str) -> str:
        return packing.manifest() + f'[dependencies.{toml_text(name)}]\nversion = "1"'

    assert accepted(toml, [*BAD_NAMES, ""], "is not allowed|has control characters") == []


def test_bad_name_of_a_renamed_dependency_is_refused() -> None:
    def toml(name: str) -> str:
        return with_dependency() + f"\npackage = {toml_text(name)}"

    assert accepted(toml, BAD_NAMES, "is not allowed|has control characters") == []


def test_links_may_be_any_text() -> None:
    for links in ("z", "foo bar/baz@2", 'a"}', "\\", "\u00e9", "l" * 4096, "a\tb\n", "a\u2028", "\ufeffa", "a\u200db"):
        assert parse_packed(packing.manifest(extra=f"links = {toml_text(links)}")).links == links


def test_huge_links_and_control_characters_are_refused() -> None:
    texts = ["a\x85", "a\x1b[31m", "\u00e9" * 2049, "l" * 4097]
    assert accepted(lambda links: packing.manifest(extra=f"links = {toml_text(links)}"), texts, "links") == []


# From cargo 1.95 as for features, except for blanks and very great numbers.
RUST_VERSIONS = ["1", "1.0", "1.70", "1.70.0", "0.0.0", "99999.1"]
BAD_RUST_VERSIONS = [
    *("01", "1.01", "1.0.00", "1.", ".1", "1.70.0.0", "v1.70", "1.x", "1.*", "^1.70", "=1.70", " 1.70", "1.70\n"),
    *("1.70-nightly", "1.70.0+x", "\u0661", "99999999999999999999", "100000"),
]


def test_rust_version_is_accepted() -> None:
    for text in RUST_VERSIONS:
        assert parse_packed(packing.manifest(extra=f'rust-version = "{text}"')).rust_version == text


def test_bad_rust_version_is_refused() -> None:
    def toml(text: str) -> str:
        return packing.manifest(extra=f"rust-version = {toml_text(text)}")

    assert accepted(toml, INJECTIONS + BAD_RUST_VERSIONS, "rust[-_]version") == []


# From cargo 1.95 as for features.
TARGETS = [
    "x86_64-unknown-linux-gnu",
    "my.json",
    "cfg",
    "cfg(unix)",
    "cfg(true)",
    "cfg(r#unix)",
    "cfg(all())",
    "cfg(any(unix, windows,))",
    "cfg( not (unix) )",
    'cfg(target_os = "linux")',
    'cfg(a="\u00e9")',
    "cfg(any(unix,))",
    "caf\u00e9",
    "cfg(" + "not(" * 127 + "a" + ")" * 128,
    "cfg(any(" + ", ".join(f'target_arch = "arch{n}"' for n in range(500)) + "))",
    "cfg(" + "a" * (16 * 1024 - 5) + ")",
]
BAD_TARGETS = [
    *INJECTIONS,
    *("", "a b", "a/b", "a+b", " cfg(unix)", "cfg(unix) ", "cfg(unix) x", "cfg (unix)", "Cfg(unix)"),
    *("cfg(", "cfg()", "cfg(unix", "cfg(unix))", "cfg(unix,)", "cfg(unix, windows)", "cfg(a b)", "cfg(a-b)", "cfg(1a)"),
    *("cfg(a=b)", 'cfg(a="b)', "cfg(a='b')", 'cfg(a="b" "c")', 'cfg("a")', "cfg(\nunix)", "cfg(a=)"),
    *('cfg(a="\n")', 'cfg(a="\u2028")', 'cfg(a="\x1b")'),
    *("cfg(all)", "cfg(not())", "cfg(not(a, b))", "cfg(all(, a))", "cfg(all(a b))", "cfg(all(a)", "cfg(all(a"),
    "cfg(" + "not(" * 128 + "a" + ")" * 129,
    "cfg(" + "a" * (16 * 1024 - 4) + ")",
    'cfg(a = "' + "\u00e9" * (8 * 1024) + '")',
]


def with_target(target: str) -> str:
    return packing.manifest() + f"[target.{toml_text(target)}.dependencies]\nbase = '1'"


def test_target_is_accepted() -> None:
    assert [parse_packed(with_target(target)).dependencies[0].target for target in TARGETS] == TARGETS


def test_target_that_cargo_cannot_read_is_refused() -> None:
    assert [target for target in BAD_TARGETS if "target" not in refusal_of(parse_packed, with_target(target))] == []


# --- References of features -------------------------------------------------------------------------------------

DEPENDENCIES = """
[dependencies]
norm = "1"
opt = { version = "1", optional = true }
[dev-dependencies]
dev = "1"
"""


def with_features(features: str) -> str:
    return packing.manifest() + DEPENDENCIES + "[features]\n" + features


# cargo 1.95 made both tables: an index line with these dependencies and features can be resolved, or "is invalid".
FEATURES_THAT_RESOLVE = [
    "f = []",
    'f = ["g"]\ng = []',
    'f = ["opt"]',
    'f = ["dep:opt"]',
    'f = ["opt/std"]',
    'f = ["opt?/std"]',
    'f = ["norm/std"]',
    'f = ["dev/std"]',
    'opt = ["dep:opt"]\nf = ["opt"]',
    'opt = ["opt/std"]',
    'opt = ["opt?/std"]',
    'f = ["opt?/std", "dep:opt"]',
    "norm = []",
    'a = ["b"]\nb = ["a"]',
    'a = ["a"]',
    "A = []\na = []",
]
BROKEN_FEATURES = [
    'f = ["nothing"]',
    'default = ["nothing"]',
    'f = ["dep:nothing"]',
    'f = ["nothing/std"]',
    'f = ["nothing?/std"]',
    'f = ["norm"]',
    'f = ["dep:norm"]',
    'f = ["norm?/std"]',
    'f = ["dev"]',
    'f = ["dep:dev"]',
    'f = ["norm/a/b"]',
    'f = ["dep:opt/std"]',
    'f = [""]',
    'f = ["dep:"]',
    'f = ["/"]',
    'f = ["?/"]',
    'f = ["opt"]\ng = ["dep:opt"]',  # with `dep:`, there is no feature `opt` any more
    "opt = []",  # then nothing switches the dependency on
    'f = ["norm/\\n"]',
    'f = ["norm/\\u2028"]',
    'f = ["\\u0000"]',
]


def test_features_that_cargo_reads_are_accepted() -> None:
    assert [text for text in FEATURES_THAT_RESOLVE if not parse_packed(with_features(text)).features] == []


def test_features_that_cargo_cannot_read_are_refused() -> None:
    assert [text for text in BROKEN_FEATURES if not refusal_of(parse_packed, with_features(text))] == []


def test_optional_dev_dependency_is_refused() -> None:
    toml = packing.manifest() + '[dev-dependencies.dev]\nversion = "1"\noptional = true'
    assert "a dev-dependency cannot be" in refusal_of(parse_packed, toml)


# --- Registries and URLs ----------------------------------------------------------------------------------------

REGISTRY_URLS = [
    "file:///etc",
    "http://169.254.169.254/",
    "sparse+https://host/index.git",
    "https://github.com/rust-lang/crates.io-index/",
    "https://github.com/rust-lang/crates.io-index.git",
    "sparse+http://testserver/index/../other/",
    "sparse+http://testserver.evil/index/",
    "sparse+http://alias/index/",
    "sparse+https://alias:8000/index/",
    "sparse+http://testserver/index/\n",
    "javascript:alert(1)",
    "ssh://git@host/index",
    "x" * 2001,
]


def test_other_registry_is_refused() -> None:
    def toml(url: str) -> str:
        return with_dependency(registry_index=url)

    assert accepted(toml, REGISTRY_URLS, "registry|has control characters") == []


def test_each_name_of_the_registry_is_its_own() -> None:
    for url in (OWN, OWN.rstrip("/"), "sparse+http://alias:8000/index/"):
        (only,) = parse_packed(with_dependency(registry_index=url)).dependencies
        assert only.registry is None


def test_port_of_the_scheme_does_not_matter() -> None:
    own = Registries(("sparse+https://crates.example/index/",), frozenset({"sparse+https://other.example/index/"}))
    assert own.resolve("sparse+https://Crates.Example:443/index/") is None
    assert own.resolve("sparse+HTTPS://other.example:443/index/") == "sparse+https://other.example/index/"


def test_registry_that_is_not_allowed_is_named() -> None:
    only_own = Registries((OWN,), frozenset())
    with pytest.raises(Invalid, match=r"crates\.io-index.* nor one that its operator allows"):
        manifest.parse_packed(with_dependency().encode(), only_own, frozenset())


def test_key_that_cargo_does_not_pack_is_refused() -> None:
    for key in ("git", "registry", "workspace"):
        toml = with_dependency(**{key: "https://host/repository.git"})
        assert f"has the key '{key}'" in refusal_of(parse_packed, toml)


def test_dependency_without_a_version_is_refused() -> None:
    with pytest.raises(Invalid, match="has no version"):
        parse_packed(packing.manifest() + '[dependencies]\nbase = { path = "../base" }')


URL_KEYS = ("homepage", "repository", "documentation")
URLS = ["https://example.com/\u00fc?q=1#f", "HTTP://example.com", "https://[::1]:8080/"]
BAD_URLS = [
    "javascript:alert(1)",
    "JaVaScRiPt:alert(1)",
    "javascript://example.com/%0aalert(1)",
    " javascript:alert(1)",
    "java\nscript:alert(1)",
    "java\tscript:alert(1)",
    "\x01javascript:alert(1)",
    "data:text/html,<script>",
    "vbscript:x",
    "file:///etc/passwd",
    "//example.com",
    "/relative",
    "example.com",
    "https:",
    "https://",
    "https:///path",
    "https:example.com",
    "https://exa mple.com",
    "https://example.com/\n",
    "https://[::1",
    "https://example.com/" + "a" * 2000,
]


def test_url_is_accepted() -> None:
    for key, url in itertools.product(URL_KEYS, URLS):
        assert getattr(parse_packed(packing.manifest(extra=f"{key} = '{url}'")), key) == url


def test_bad_url_is_refused() -> None:
    manifests = [
        (key, packing.manifest(extra=f"{key} = {toml_text(url)}")) for key, url in itertools.product(URL_KEYS, BAD_URLS)
    ]
    assert [(key, toml) for key, toml in manifests if key not in refusal_of(parse_packed, toml)] == []


# --- Wrong types ------------------------------------------------------------------------------------------------

WRONG = [True, 0, -1, 1.5, [1], {"a": 1}]
WRONG_TEXT = [*WRONG, [], {}]


WRONG_METADATA = [(key, value) for key in ("name", "vers") for value in [None, "", *WRONG_TEXT]]


def test_wrong_type_in_the_json_is_refused() -> None:
    assert [(k, v) for k, v in WRONG_METADATA if not refusal_of(parse_metadata, metadata() | {k: v})] == []


def test_missing_key_in_the_json_is_refused() -> None:
    for key in ("name", "vers"):
        value = {name: value for name, value in metadata().items() if name != key}
        assert f"has no {key}" in refusal_of(parse_metadata, value)


def test_json_that_is_no_object_is_refused() -> None:
    values = [None, "text", {}, [], *WRONG]
    assert [value for value in values if not refusal_of(parse_metadata, value)] == []


BROKEN_PACKAGES = [
    "",
    "x = 1",
    "package = 5",
    'package = ["name"]',
    "[[package]]\nname = 'demo'",
    "[package]",
    "[package]\nname = 'demo'",
    "[package]\nversion = '1.0.0'",
    "[package]\nname = 5\nversion = '1.0.0'",
    "[package]\nname = 'demo'\nversion = 1.0",
    "[package]\nname = 'demo'\nversion = 1979-05-27",
    "[package]\nname = ['demo']\nversion = '1.0.0'",
    "[package]\nname = 'demo'\nversion.workspace = true",
    "[package]\nname = '../demo'\nversion = '1.0.0'",
    "[package]\nname = 'demo'\nversion = '1.0'",
]


def test_manifest_without_a_valid_package_is_refused() -> None:
    assert [toml for toml in BROKEN_PACKAGES if not refusal_of(parse_packed, toml)] == []


WRONG_MANIFESTS = [
    "dependencies = 5",
    "dependencies = []",
    "dependencies = [{ base = '1' }]",
    "dependencies = 'base'",
    "dependencies.base = 1",
    "dependencies.base = true",
    "dependencies.base = []",
    "dependencies.base.version = 1",
    "dependencies.base = { version = '1', features = 'f' }",
    "dependencies.base = { version = '1', features = [1] }",
    "dependencies.base = { version = '1', features = { f = true } }",
    "dependencies.base = { version = '1', optional = 'yes' }",
    "dependencies.base = { version = '1', optional = 1 }",
    "dependencies.base = { version = '1', default-features = 0 }",
    "dependencies.base = { version = '1', package = 1 }",
    "dependencies.base = { version = '1', registry-index = [] }",
    "dev-dependencies = 5",
    "build-dependencies.base = 5",
    "target = 5",
    "target = ['cfg(unix)']",
    "target.'cfg(unix)' = 5",
    "target.'cfg(unix)'.dependencies = 5",
    "target.'cfg(unix)'.dependencies.base = 5",
    "features = 5",
    "features = []",
    "features = ['f']",
    "features.f = 'g'",
    "features.f = 5",
    "features.f = [5]",
    "features.f = [['g']]",
    "features.f.g = []",
    "package.keywords = 'k'",
    "package.keywords = [1]",
    "package.keywords = [1979-05-27]",
    "package.categories = { a = 1 }",
    "package.description = []",
    "package.description = 1e400",
    "package.license = true",
    "package.homepage = 07:32:00",
    "package.links = {}",
    "package.rust-version = 1.70",
]


def test_wrong_type_in_the_manifest_is_refused() -> None:
    head = "package.name = 'demo'\npackage.version = '1.0.0'\n"
    assert [toml for toml in WRONG_MANIFESTS if "is not" not in refusal_of(parse_packed, head + toml)] == []


# --- Limits, and bounded work -----------------------------------------------------------------------------------


def many_dependencies(count: int) -> str:
    return packing.manifest() + "[dependencies]\n" + "\n".join(f'd{n} = "1"' for n in range(count))


def many_features(count: int) -> str:
    return packing.manifest() + "[features]\n" + "\n".join(f"f{n} = []" for n in range(count))


def long_key(parts: int) -> str:
    return packing.manifest() + "[package.metadata]\n" + ".".join(["a"] * parts) + " = 1\n"


# By what is counted: a manifest at the limit, and one over it.
LIMITS = {
    "dependencies": (many_dependencies(1000), many_dependencies(1001)),
    "features": (many_features(5000), many_features(5001)),
    "keywords": tuple(packing.manifest(extra=f"keywords = {['k'] * count}") for count in (20, 21)),
    "categories": tuple(packing.manifest(extra=f"categories = {['k', 'K'] * 10 + ['k'] * over}") for over in (0, 1)),
    "too long": tuple(packing.manifest(extra=f"keywords = ['{'k' * length}']") for length in (64, 65)),
    "description": tuple(packing.manifest(extra=f"description = '{'d' * length}'") for length in (5000, 5001)),
    "license": tuple(packing.manifest(extra=f"license = '{'l' * length}'") for length in (4096, 4097)),
    "4098 bytes": tuple(packing.manifest(extra=f"license = '{text}'") for text in ("\u00e9" * 2048, "\u00e9" * 2049)),
    "feature name": tuple(packing.manifest(extra=f"[features]\n{'f' * length} = []") for length in (255, 256)),
    "is not allowed": tuple(packing.manifest(extra=f"[dependencies]\n{'d' * length} = '1'") for length in (64, 65)),
    "homepage": tuple(packing.manifest(extra=f"homepage = 'http://{'h' * length}'") for length in (1993, 1994)),
    "parts": (long_key(64), long_key(65)),
}


def test_limits_are_exact() -> None:
    assert [word for word, (at_limit, _) in LIMITS.items() if refusal_of(parse_packed, at_limit)] == []
    assert [word for word, (_, over) in LIMITS.items() if word not in refusal_of(parse_packed, over)] == []


def test_unprintable_text_is_refused() -> None:
    extras = [
        'keywords = ["a\\nb"]',
        'categories = ["a\\u2028b"]',
        'description = "a\\u0000b"',
        'license = "MIT\\u0000"',
        'description = "a\\u001bb"',
        'license = "MIT\\u0085"',
        'documentation = "https://host/\\u007f"',
    ]
    assert [extra for extra in extras if not refusal_of(parse_packed, packing.manifest(extra=extra))] == []


BROKEN_TOML = [
    b"\xff",
    b"\xef\xbb\xbf[package]",
    "[package]\nname = 'demo'".encode("utf-16"),
    b"[package\n",
    b"name = 'a'\nname = 'b'",
    b"a = 1\0",
    b'a = "\\ud800"',
    b"a = " + b"1" * 5000,
    b"a = 9999-99-99",
    b"a = 00:00:00+99:99",
]


def test_broken_toml_is_refused() -> None:
    pattern = re.compile(r"packed Cargo\.toml (is not UTF-8|cannot be read)")
    refusals = [(text, refusal_of(manifest.parse_packed, text, REGISTRIES, frozenset())) for text in BROKEN_TOML]
    assert [text for text, refusal in refusals if not pattern.search(refusal)] == []


# The most expensive inputs of tomllib: half a MiB, or, where the cost is quadratic, a few KiB.
EXPENSIVE_TOML = {
    "brackets": "a = " + "[" * 500_000,
    "braces": "a = " + "{a=" * 150_000,
    "tables": "[a]\n" + "[[a.a]]\n" * 60_000,
    "numbers": "a = [" + "1," * 250_000 + "]",
    "hexadecimal": "a = 0x" + "f" * 500_000,
    "comments": "a = [" + "#\n" * 250_000 + "]",
    "escapes": 'a = "' + "\\n" * 250_000 + '"',
    "dotted key": "a" + ".a" * 16_000 + " = 1",
    "blank dotted key": "a" + " . a" * 16_000 + " = 1",
    "quoted dotted key": "a" + "." + ".".join(['"\\u0061"', "''"] * 8_000) + " = 1",
    "dotted table": "[a" + ".a" * 40_000 + "]",
    "dotted inline key": "x = { a" + ".a" * 40_000 + " = 1 }",
    "keys in a deep table": "[a" + ".a" * 500 + "]\n" + "".join(f"k{n}=1\n" for n in range(40_000)),
}


def test_expensive_toml_is_refused() -> None:
    assert [name for name, toml in EXPENSIVE_TOML.items() if not refusal_of(parse_packed, toml)] == []


LONG = ".a" * 4_000
LONG_KEYS = [
    f"a{LONG} = 1",
    f"a{LONG.replace('.', ' . ')} = 1",
    f"""a{LONG.replace(".a", ".'a'." + '"a"')} = 1""",
    f"[a{LONG}]",
    f"[[a{LONG}]]",
    f"x = {{ a{LONG} = 1 }}",
    f"x = 1\r\na{LONG} = 1",
    f'"\u2028"{LONG} = ""',  # no new line in TOML, but one for Python
    f'"\u2029"{LONG} = ""',
    f'"\x85"{LONG} = ""',
    f'["\u2028"{LONG}."x"]',
    f'x = {{ y = """\n\' """, a{LONG} = 1, z = \'\' }}',  # the quotation marks are not a text's
    f'x = [ """\n\' """, {{ a{LONG} = \'\' }} ]',
    f'x = """\n""" # "\na{LONG} = 1 # "',
]


def test_long_key_is_refused_wherever_it_hides() -> None:
    """Of 25,000 parts, 50 KB, Python's tomllib makes 3.6 GB."""
    head = f"{packing.manifest()}[package.metadata]\n"
    assert [toml for toml in LONG_KEYS if "parts" not in refusal_of(parse_packed, f"{head}{toml}\n")] == []


def test_text_may_have_many_dots() -> None:
    toml = packing.manifest(extra=f'description = """\n{"Well... " * 30}\n"""')
    assert parse_packed(toml).description.startswith("Well...")


# --- Any input --------------------------------------------------------------------------------------------------

_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
_changes = st.dictionaries(st.sampled_from([*metadata(), "explicit_name_in_toml"]), _json, max_size=3)
_dependency_changes = st.dictionaries(
    st.sampled_from([*dependency("base"), "registry", "explicit_name_in_toml"]), _json, max_size=3
)


@given(_changes, _dependency_changes)
def test_any_json_is_read_or_refused(changes: dict[str, Any], dependency_changes: dict[str, Any]) -> None:
    with suppress(Invalid):
        parse_metadata(metadata(deps=[dependency("base") | dependency_changes]) | changes)


@given(st.integers(0, len(TOML) - 1), st.integers(0, 5), st.text(max_size=5) | st.sampled_from(list('[]{}".=\n')))
def test_any_toml_is_read_or_refused(position: int, length: int, text: str) -> None:
    changed = TOML[:position] + text + TOML[position + length :]
    with suppress(Invalid):
        manifest.parse_packed(changed.encode("utf-8", "surrogatepass"), REGISTRIES, frozenset())
