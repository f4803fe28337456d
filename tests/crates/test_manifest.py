"""What a crate says of itself: the packed `Cargo.toml` is read strictly, and the JSON has to agree with it."""

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crates.package import manifest
from crates.package.dependencies import CRATES_IO, KIND_BY_SECTION, Dependency, Registries
from registry_site.errors import Invalid
from tests.support import packing
from tests.support.packing import dependency, metadata

pytestmark = pytest.mark.database_independent

OWN = "sparse+http://testserver/index/"
REGISTRIES = Registries(OWN, frozenset({CRATES_IO}))

# One of each thing that a resolver looks at, in both spellings.
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
FIRST = {
    **dependency("base", ">=1.2, <2"),
    "explicit_name_in_toml": "first",
    "optional": True,
    "default_features": False,
    "features": ["alloc", "derive"],
}
OTHER = dependency("other", "^0.3", kind="build", target='cfg(all(unix, target_env = "gnu"))', registry=CRATES_IO)
FEATURES = {"full": ["dep:first", "first?/std"], "small": []}


def packed(toml: str, paths: frozenset[str] = frozenset()) -> manifest.Manifest:
    return manifest.parse_packed(toml.encode(), REGISTRIES, paths)


def claimed(**changes: Any) -> manifest.Metadata:
    """JSON that agrees with `TOML`, but for `changes`."""
    agreeing = {"deps": [FIRST, OTHER], "features": FEATURES, "links": "z", "rust_version": "1.70"}
    return parsed(metadata() | agreeing | changes)


def parsed(value: Any) -> manifest.Metadata:
    return manifest.parse_metadata(json.dumps(value).encode(), REGISTRIES)


def with_dependency(**fields: Any) -> str:
    """A manifest with the dependency `base`, whose fields are given as in JSON."""
    return (
        packing.manifest()
        + "[dependencies.base]\n"
        + "\n".join(
            f"{key.replace('_', '-')} = {json.dumps(value)}" for key, value in {"version": "1", **fields}.items()
        )
    )


def toml_text(text: str) -> str:
    """A TOML string in which everything odd is escaped."""
    return '"' + "".join(c if c.isalnum() and c.isascii() else f"\\U{ord(c):08x}" for c in text) + '"'


# --- Reading ----------------------------------------------------------------------------------------------------


def test_dependency_is_kept_in_the_form_of_the_index() -> None:
    first, other = packed(TOML).dependencies
    assert first == Dependency("first", ">=1.2, <2", ["alloc", "derive"], True, False, None, "normal", None, "base")
    assert (other.kind, other.target, other.registry, other.package) == (
        "build",
        'cfg(all(unix, target_env = "gnu"))',
        CRATES_IO,
        None,
    )


def test_features_are_read() -> None:
    assert packed(TOML).features == FEATURES


@pytest.mark.parametrize("section", ["dependencies", "dev-dependencies", "build-dependencies"])
def test_short_dependency_is_read(section: str) -> None:
    (only,) = packed(packing.manifest() + f'[{section}]\nbase = "1"').dependencies
    assert (only.name, only.req, only.kind) == ("base", "^1", KIND_BY_SECTION[section])


@pytest.mark.parametrize("spelling", ["dev-dependencies", "dev_dependencies"])
def test_old_spelling_is_read(spelling: str) -> None:
    (only,) = packed(packing.manifest() + f'[{spelling}.base]\nversion = "1"\ndefault_features = false').dependencies
    assert (only.kind, only.default_features) == ("dev", False)


def test_description_is_read() -> None:
    assert packed(packing.manifest(extra='description = "<script>\\n\\u00e9"')).description == "<script>\n\u00e9"


def test_invalid_categories_are_told_apart() -> None:
    both = packed(packing.manifest(extra='categories = ["os::unix-apis", "Not A Slug", "", "a::"]'))
    assert (both.categories, both.invalid_categories) == (["os::unix-apis"], ["Not A Slug", "", "a::"])


def test_bare_crate_is_warned_of() -> None:
    assert [warning.split(",")[0] for warning in packed(with_dependency(version="*")).warnings()] == [
        "the crate has no description",
        "the crate has no license or license-file",
        "any version of base is accepted (`*`)",
    ]


@pytest.mark.parametrize("key", ["readme", "license-file"])
def test_named_file_has_to_be_in_the_crate(key: str) -> None:
    toml = packing.manifest(extra=f'{key} = "docs/TEXT"')
    assert packed(toml, frozenset({"docs/TEXT"}))
    with pytest.raises(Invalid, match="not in the crate"):
        packed(toml)


# --- Agreement --------------------------------------------------------------------------------------------------


def test_what_cargo_sends_agrees() -> None:
    manifest.check_agreement(claimed(), packed(TOML))


@pytest.mark.parametrize(
    "changes",
    [
        {"deps": [OTHER, FIRST]},
        {"deps": [FIRST, OTHER | {"target": 'cfg( all ( unix , target_env="gnu" ) )'}]},
        {"deps": [FIRST | {"version_req": ">= 1.2 ,<2"}, OTHER | {"version_req": "0.3"}]},
        {"deps": [FIRST | {"features": ["derive", "alloc"]}, OTHER]},
        {"deps": [FIRST | {"registry": OWN}, OTHER]},
        {"deps": [FIRST | {"registry": OWN.rstrip("/")}, OTHER]},
        {"deps": [FIRST | {"kind": None, "target": None}, OTHER]},
        {"features": {"small": [], "full": ["first?/std", "dep:first"]}},
        {"authors": ["somebody"], "description": "another", "keywords": ["k"], "readme": "text"},
        {"unknown": {"future": True}},
    ],
)
def test_other_spelling_agrees(changes: dict[str, Any]) -> None:
    manifest.check_agreement(claimed(**changes), packed(TOML))


@pytest.mark.parametrize(
    ("what", "changes"),
    [
        ("name", {"name": "Demo"}),
        ("name", {"name": "demo-1"}),
        ("version", {"vers": "1.0.1"}),
        ("version", {"vers": "1.0.0+build"}),
        ("links", {"links": "y"}),
        ("links", {"links": None}),
        ("rust_version", {"rust_version": "1.71"}),
        ("rust_version", {"rust_version": "1.70.0"}),
        ("rust_version", {"rust_version": None}),
        ("features", {"features": {}}),
        ("features", {"features": {**FEATURES, "more": []}}),
        ("features", {"features": {**FEATURES, "small": ["full"]}}),
        ("features", {"features": {**FEATURES, "full": ["dep:first"]}}),
        ("features", {"features": {**FEATURES, "full": ["dep:first", "first/std"]}}),
    ],
)
def test_json_that_says_otherwise_is_refused(what: str, changes: dict[str, Any]) -> None:
    with pytest.raises(Invalid, match=f"disagree on {what}"):
        manifest.check_agreement(claimed(**changes), packed(TOML))


@pytest.mark.parametrize(
    "changes",
    [
        {"name": "basis"},
        {"version_req": ">=1.2, <3"},
        {"version_req": "*"},
        {"kind": "build"},
        {"kind": "dev", "optional": False},
        {"target": "cfg(unix)"},
        {"optional": False},
        {"default_features": True},
        {"features": []},
        {"features": ["alloc", "derive", "std"]},
        {"features": ["alloc", "alloc", "derive"]},
        {"explicit_name_in_toml": "second"},
        {"explicit_name_in_toml": None},
        {"registry": CRATES_IO},
    ],
)
def test_dependency_that_says_otherwise_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(Invalid, match="disagree on dependencies"):
        manifest.check_agreement(claimed(deps=[FIRST | changes, OTHER]), packed(TOML))


@pytest.mark.parametrize("deps", [[], [FIRST], [OTHER], [FIRST, OTHER, FIRST], [FIRST, FIRST], [OTHER, OTHER, FIRST]])
def test_other_number_of_dependencies_is_refused(deps: list[Any]) -> None:
    with pytest.raises(Invalid, match="disagree on dependencies"):
        manifest.check_agreement(claimed(deps=deps), packed(TOML))


def test_rename_to_the_same_name_agrees() -> None:
    """`base = { package = "base" }`: cargo sends `explicit_name_in_toml`, and packs `package`."""
    sent = parsed(metadata(deps=[dependency("base", explicit_name_in_toml="base", registry=CRATES_IO)]))
    manifest.check_agreement(sent, packed(with_dependency(package="base")))


# --- Names that stand in the index ------------------------------------------------------------------------------


# Made by asking cargo 1.95: an index line with this feature either can be resolved, or "is invalid".
@pytest.mark.parametrize(
    "feature",
    [
        "a",
        "A",
        "_",
        "_a",
        "1",
        "0x",
        "a-",
        "a+b",
        "a.b",
        "\u00e9",
        "e\u0301",
        "\u0915\u094d\u0937",
        "a\u00b7b",
        "\u7279",
    ],
)
def test_feature_name_is_taken(feature: str) -> None:
    assert list(packed(packing.manifest() + f"[features]\n{toml_text(feature)} = []").features) == [feature]


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


@pytest.mark.parametrize("feature", BAD_FEATURES + INJECTIONS + ["a" * 256])
def test_bad_feature_name_is_refused(feature: str) -> None:
    with pytest.raises(Invalid, match="feature name"):
        packed(packing.manifest() + f"[features]\n{toml_text(feature)} = []")
    with pytest.raises(Invalid, match="feature name"):
        parsed(metadata(features={feature: []}))


@pytest.mark.parametrize("feature", BAD_FEATURES + INJECTIONS)
def test_bad_feature_of_a_dependency_is_refused(feature: str) -> None:
    with pytest.raises(Invalid, match="feature name"):
        packed(packing.manifest() + f'[dependencies.base]\nversion = "1"\nfeatures = [{toml_text(feature)}]')
    with pytest.raises(Invalid, match="feature name"):
        parsed(metadata(deps=[dependency("base", features=[feature])]))


@pytest.mark.parametrize("name", [*INJECTIONS, "", "1a", "-a", "a b", "a/b", "..", "\u00e9", "a" * 65])
def test_bad_name_of_a_dependency_is_refused(name: str) -> None:
    with pytest.raises(Invalid, match=r"is not allowed|has control characters"):
        packed(packing.manifest() + f'[dependencies.{toml_text(name)}]\nversion = "1"')
    with pytest.raises(Invalid, match=r"is not allowed|has control characters"):
        parsed(metadata(deps=[dependency(name)]))


@pytest.mark.parametrize("name", [*INJECTIONS, "1a", "-a", "a b", "a/b", "..", "\u00e9", "a" * 65])
def test_bad_name_of_a_renamed_dependency_is_refused(name: str) -> None:
    with pytest.raises(Invalid, match=r"is not allowed|has control characters"):
        packed(packing.manifest() + f'[dependencies.base]\nversion = "1"\npackage = {toml_text(name)}')
    with pytest.raises(Invalid, match=r"is not allowed|has control characters"):
        parsed(metadata(deps=[dependency("base", explicit_name_in_toml=name)]))


@pytest.mark.parametrize("links", [*INJECTIONS, " ", "a b", "a/b", "a" * 256])
def test_bad_links_is_refused(links: str) -> None:
    with pytest.raises(Invalid, match="links"):
        packed(packing.manifest(extra=f"links = {toml_text(links)}"))
    with pytest.raises(Invalid, match="links"):
        parsed(metadata(links=links))


# Made by asking cargo 1.95 as for features, except for blanks and very great numbers.
@pytest.mark.parametrize("rust_version", ["1", "1.0", "1.70", "1.70.0", "0.0.0", "99999.1"])
def test_rust_version_is_taken(rust_version: str) -> None:
    assert packed(packing.manifest(extra=f'rust-version = "{rust_version}"')).rust_version == rust_version


@pytest.mark.parametrize(
    "rust_version",
    [
        *INJECTIONS,
        "01",
        "1.01",
        "1.0.00",
        "1.",
        ".1",
        "1.70.0.0",
        "v1.70",
        "1.x",
        "1.*",
        "^1.70",
        "=1.70",
        " 1.70",
        "1.70\n",
        "1.70-nightly",
        "1.70.0+x",
        "\u0661",
        "99999999999999999999",
    ],
)
def test_bad_rust_version_is_refused(rust_version: str) -> None:
    with pytest.raises(Invalid, match="rust-version"):
        packed(packing.manifest(extra=f"rust-version = {toml_text(rust_version)}"))
    with pytest.raises(Invalid, match="rust_version"):
        parsed(metadata(rust_version=rust_version))


# Made by asking cargo 1.95 as for features.
@pytest.mark.parametrize(
    "target",
    [
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
    ],
)
def test_target_is_taken(target: str) -> None:
    toml = packing.manifest() + f"[target.{toml_text(target)}.dependencies]\nbase = '1'"
    assert packed(toml).dependencies[0].target == target


@pytest.mark.parametrize(
    "target",
    [
        *INJECTIONS,
        "",
        "a b",
        "a/b",
        "a+b",
        " cfg(unix)",
        "cfg(unix) ",
        "cfg(unix) x",
        "cfg (unix)",
        "Cfg(unix)",
        "cfg(",
        "cfg()",
        "cfg(unix",
        "cfg(unix))",
        "cfg(unix,)",
        "cfg(unix, windows)",
        "cfg(a b)",
        "cfg(a-b)",
        "cfg(1a)",
        "cfg(a=b)",
        'cfg(a="b)',
        "cfg(a='b')",
        'cfg(a="b" "c")',
        'cfg("a")',
        "cfg(\nunix)",
        "cfg(all)",
        "cfg(not())",
        "cfg(not(a, b))",
        "cfg(all(, a))",
        "cfg(all(a b))",
        "cfg(all(a)",
        "cfg(" + "a" * 500 + ")",
    ],
)
def test_target_that_cargo_cannot_read_is_refused(target: str) -> None:
    with pytest.raises(Invalid, match="target"):
        packed(packing.manifest() + f"[target.{toml_text(target)}.dependencies]\nbase = '1'")


# --- Features refer to what there is ----------------------------------------------------------------------------

DEPENDENCIES = """
[dependencies]
norm = "1"
opt = { version = "1", optional = true }
[dev-dependencies]
dev = "1"
"""


def with_features(features: str) -> str:
    return packing.manifest() + DEPENDENCIES + "[features]\n" + features


# Made by asking cargo 1.95: an index line with these dependencies and features can be resolved, or "is invalid".
@pytest.mark.parametrize(
    "features",
    [
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
    ],
)
def test_features_are_taken(features: str) -> None:
    assert packed(with_features(features)).features


@pytest.mark.parametrize(
    "features",
    [
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
    ],
)
def test_features_that_cargo_cannot_read_are_refused(features: str) -> None:
    with pytest.raises(Invalid):
        packed(with_features(features))


def test_optional_dev_dependency_is_refused() -> None:
    with pytest.raises(Invalid):
        packed(packing.manifest() + '[dev-dependencies.dev]\nversion = "1"\noptional = true')


# --- Registries and URLs ----------------------------------------------------------------------------------------

REGISTRY_URLS = [
    "file:///etc",
    "http://169.254.169.254/",
    "sparse+https://host/index.git",
    "https://github.com/rust-lang/crates.io-index/",
    "https://github.com/rust-lang/crates.io-index.git",
    "HTTPS://github.com/rust-lang/crates.io-index",
    "sparse+http://testserver/index/../other/",
    "sparse+http://testserver.evil/index/",
    "sparse+http://testserver/index/\n",
    "javascript:alert(1)",
    "ssh://git@host/index",
    "x" * 2001,
]


@pytest.mark.parametrize("url", REGISTRY_URLS)
def test_other_registry_is_refused(url: str) -> None:
    with pytest.raises(Invalid):
        parsed(metadata(deps=[dependency("base", registry=url)]))
    with pytest.raises(Invalid):
        packed(with_dependency(registry_index=url))


def test_registry_that_is_not_allowed_is_named() -> None:
    nobody = Registries(OWN, frozenset())
    with pytest.raises(Invalid, match=r"crates\.io-index.* nor one that its operator allows"):
        manifest.parse_packed(with_dependency().encode(), nobody, frozenset())


@pytest.mark.parametrize("key", ["git", "registry", "workspace", "artifact"])
def test_dependency_that_was_not_packed_by_cargo_is_refused(key: str) -> None:
    with pytest.raises(Invalid, match=f"has the key '{key}'"):
        packed(with_dependency(**{key: "https://host/repository.git"}))


def test_dependency_without_a_version_is_refused() -> None:
    with pytest.raises(Invalid, match="has no version"):
        packed(packing.manifest() + '[dependencies]\nbase = { path = "../base" }')


@pytest.mark.parametrize("key", ["homepage", "repository", "documentation"])
@pytest.mark.parametrize("url", ["https://example.com/\u00fc?q=1#f", "HTTP://example.com", "https://[::1]:8080/"])
def test_url_is_taken(key: str, url: str) -> None:
    assert getattr(packed(packing.manifest(extra=f"{key} = '{url}'")), key) == url


@pytest.mark.parametrize("key", ["homepage", "repository", "documentation"])
@pytest.mark.parametrize(
    "url",
    [
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
    ],
)
def test_bad_url_is_refused(key: str, url: str) -> None:
    with pytest.raises(Invalid, match=key):
        packed(packing.manifest(extra=f"{key} = {toml_text(url)}"))


# --- Wrong types ------------------------------------------------------------------------------------------------

WRONG = [True, 0, -1, 1.5, [1], {"a": 1}]
WRONG_TEXT = [*WRONG, [], {}]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *(("name", value) for value in [None, "", *WRONG_TEXT]),
        *(("vers", value) for value in [None, "", *WRONG_TEXT]),
        *(("deps", value) for value in [None, "text", {}, *WRONG]),
        *(("features", value) for value in [None, "text", [], *WRONG]),
        *(("links", value) for value in WRONG_TEXT),
        *(("rust_version", value) for value in WRONG_TEXT),
    ],
)
def test_wrong_type_in_the_json_is_refused(key: str, value: Any) -> None:
    with pytest.raises(Invalid):
        parsed(metadata() | {key: value})


@pytest.mark.parametrize("key", ["name", "vers", "deps", "features"])
def test_missing_key_in_the_json_is_refused(key: str) -> None:
    with pytest.raises(Invalid, match=f"has no {key}"):
        parsed({name: value for name, value in metadata().items() if name != key})


@pytest.mark.parametrize("value", [None, "text", {}, [], *WRONG])
def test_json_that_is_no_object_is_refused(value: Any) -> None:
    with pytest.raises(Invalid):
        parsed(value)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *(("name", value) for value in [None, "", *WRONG_TEXT]),
        *(("version_req", value) for value in [None, "", *WRONG_TEXT]),
        *(("features", value) for value in ["text", {}, *WRONG, ["a", 1], [None], [["a"]]]),
        *(("optional", value) for value in ["true", 0, 1, [], {}]),
        *(("default_features", value) for value in ["true", 0, 1, [], {}]),
        *(("target", value) for value in WRONG_TEXT),
        *(("kind", value) for value in ["Normal", "normal ", "devel", *WRONG_TEXT]),
        *(("registry", value) for value in WRONG_TEXT),
        *(("explicit_name_in_toml", value) for value in WRONG_TEXT),
    ],
)
def test_wrong_type_in_a_dependency_of_the_json_is_refused(key: str, value: Any) -> None:
    with pytest.raises(Invalid):
        parsed(metadata(deps=[dependency("base") | {key: value}]))


@pytest.mark.parametrize("deps", [[None], ["base"], [1], [[]], [{}], [{"name": "base"}], [{"version_req": "1"}]])
def test_dependency_that_is_none_is_refused(deps: list[Any]) -> None:
    with pytest.raises(Invalid):
        parsed(metadata(deps=deps))


@pytest.mark.parametrize("values", ["a", 1, True, {}, {"a": 1}, [1], [None], [["a"]]])
def test_wrong_type_in_features_of_the_json_is_refused(values: Any) -> None:
    with pytest.raises(Invalid):
        parsed(metadata(features={"f": values}))


@pytest.mark.parametrize(
    "toml",
    [
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
    ],
)
def test_manifest_without_a_sound_package_is_refused(toml: str) -> None:
    with pytest.raises(Invalid):
        packed(toml)


@pytest.mark.parametrize(
    "toml",
    [
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
    ],
)
def test_wrong_type_in_the_manifest_is_refused(toml: str) -> None:
    with pytest.raises(Invalid, match="is not"):
        packed(f"package.name = 'demo'\npackage.version = '1.0.0'\n{toml}")


# --- Limits, and work that is bounded ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "toml",
    [
        packing.manifest() + "[dependencies]\n" + "\n".join(f'd{n} = "1"' for n in range(1001)),
        packing.manifest() + "[features]\n" + "\n".join(f"f{n} = []" for n in range(5001)),
        packing.manifest(extra=f"keywords = {['k'] * 21}"),
        packing.manifest(extra=f"categories = {['k'] * 21}"),
        packing.manifest(extra=f"keywords = ['{'k' * 65}']"),
        packing.manifest(extra='keywords = ["a\\nb"]'),
        packing.manifest(extra='categories = ["a\\u2028b"]'),
        packing.manifest(extra=f"description = '{'d' * 5001}'"),
        packing.manifest(extra=f"license = '{'l' * 256}'"),
        packing.manifest(extra='description = "a\\u0000b"'),
        packing.manifest(extra='license = "MIT\\u0000"'),
    ],
    ids=range(11),
)
def test_manifest_over_a_limit_is_refused(toml: str) -> None:
    with pytest.raises(Invalid):
        packed(toml)


@pytest.mark.parametrize(
    "text",
    [
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
    ],
    ids=range(10),
)
def test_what_is_no_toml_is_refused(text: bytes) -> None:
    with pytest.raises(Invalid, match=r"packed Cargo\.toml (is not UTF-8|cannot be read)"):
        manifest.parse_packed(text, REGISTRIES, frozenset())


# What costs Python's tomllib most: half a MiB of it, or, where the cost is quadratic, a few KiB.
WORST = {
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


@pytest.mark.parametrize("worst", WORST.values(), ids=WORST)
def test_worst_toml_is_refused(worst: str) -> None:
    with pytest.raises(Invalid):
        packed(worst)


LONG = ".a" * 4_000


@pytest.mark.parametrize(
    "toml",
    [
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
    ],
    ids=range(14),
)
def test_long_key_is_refused_wherever_it_hides(toml: str) -> None:
    """Of 25,000 parts, 50 KB, Python's tomllib makes 3.6 GB."""
    with pytest.raises(Invalid, match=r"dots|parts"):
        packed(f"{packing.manifest()}[package.metadata]\n{toml}\n")


def test_text_may_have_many_dots() -> None:
    toml = packing.manifest(extra=f'description = """\n{"Well... " * 30}\n"""')
    assert packed(toml).description.startswith("Well...")


# --- Anything at all --------------------------------------------------------------------------------------------

_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
_changes = st.dictionaries(st.sampled_from([*metadata(), "explicit_name_in_toml"]), _json, max_size=3)
_dependency_changes = st.dictionaries(
    st.sampled_from([*dependency("base"), "registry", "explicit_name_in_toml"]), _json, max_size=3
)


@settings(deadline=None)
@given(_changes, _dependency_changes)
def test_any_json_is_read_or_refused(changes: dict[str, Any], in_dependency: dict[str, Any]) -> None:
    with suppress(Invalid):
        parsed(metadata(deps=[dependency("base") | in_dependency]) | changes)


@settings(deadline=None)
@given(st.integers(0, len(TOML) - 1), st.integers(0, 5), st.text(max_size=5) | st.sampled_from(list('[]{}".=\n')))
def test_any_change_of_a_manifest_is_read_or_refused(position: int, length: int, text: str) -> None:
    changed = TOML[:position] + text + TOML[position + length :]
    with suppress(Invalid):
        manifest.parse_packed(changed.encode("utf-8", "surrogatepass"), REGISTRIES, frozenset())
