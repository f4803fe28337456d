"""Licenses of crates: read from their manifests, and compared with those that are allowed."""

import gzip
from io import BytesIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crates.mirror import crate_facts, licenses
from crates.package import archive
from tests.support import packing

pytestmark = pytest.mark.database_independent

ALLOWED = ["MIT", "apache-2.0", "GPL-2.0+", "Zlib"]

GOOD = [
    "MIT",
    "mit",
    "Apache-2.0",
    "MIT OR GPL-3.0",
    "GPL-3.0 OR MIT",
    "MIT or GPL-3.0",
    "MIT AND Zlib",
    "MIT/GPL-3.0",
    "GPL-3.0 / MIT",
    "GPL-3.0/LGPL-3.0/Zlib",
    "(MIT)",
    "(MIT OR GPL-3.0) AND Zlib",
    "GPL-3.0 AND Zlib OR MIT",
    "Apache-2.0 WITH LLVM-exception",
    "Apache-2.0 WITH LLVM-exception OR GPL-3.0",
    "Apache-2.0+",
    "GPL-2.0+",
    "(" * 100 + "MIT" + ")" * 100,
]
NOT_GOOD = [
    "",
    " ",
    "GPL-3.0",
    "GPL-2.0",
    "GPL-3.0+",
    "MIT AND GPL-3.0",
    "MIT AND (GPL-3.0 OR LGPL-3.0)",
    "(MIT OR GPL-3.0) AND GPL-3.0",
    "GPL-3.0 WITH Classpath-exception-2.0",
    "GPL-3.0 WITH MIT",
    "MIT-0",
    "LicenseRef-MIT",
    "non-standard",
    "SEE LICENSE IN MIT",
    "not MIT",
    "True",
]
BROKEN = [
    "MIT OR",
    "OR MIT",
    "MIT OR OR MIT",
    "MIT MIT",
    "MIT, Apache-2.0",
    "MIT; Apache-2.0",
    "MIT/",
    "/",
    "(MIT",
    "MIT)",
    "()",
    "( )",
    "( /ORANDWITH:OR ",
    "MIT WITH",
    "WITH MIT",
    "MIT WITH a WITH b",
    "(MIT OR GPL-3.0) WITH a",
    "MIT()",
    "+",
    "(" * 255,
]


def test_expression_is_allowed_or_not() -> None:
    cases = {**dict.fromkeys(GOOD, True), **dict.fromkeys([*NOT_GOOD, *BROKEN], False)}
    offenders = [text for text, expected in cases.items() if licenses.is_allowed(text, ALLOWED) != expected]
    assert offenders == []


PARTS = ["MIT", "GPL-3.0", " ", "OR", "AND", "WITH", "(", ")", "+", "/", ",", ":", "|", "&", "~", "é", "\u2028"]


@given(st.lists(st.sampled_from(PARTS), max_size=20).map("".join) | st.text(max_size=licenses.MAX_LICENSE_LENGTH))
def test_any_text_is_allowed_or_not(license_: str) -> None:
    assert licenses.is_allowed(license_, ALLOWED) in (True, False)
    assert not licenses.is_allowed(license_, [])


# --- In a file ---------------------------------------------------------------------------------------------------


def read(crate: bytes) -> str:
    return crate_facts.read_manifest(BytesIO(crate), len(crate))[0]


def with_field(text: str) -> bytes:
    """Return a crate with a field at the end of `[package]`."""
    return packing.crate(toml=packing.manifest(extra=text))


def test_license_is_that_of_the_manifest() -> None:
    for license_ in ("MIT", "MIT OR Apache-2.0", "Ünïcode <b>", "x" * licenses.MAX_LICENSE_LENGTH):
        assert read(with_field(f'license = "{license_}"')) == license_


UNREADABLE = {
    "no license": with_field(""),
    "only a file": with_field('license-file = "LICENSE"'),
    "a number": with_field("license = 1"),
    "a table": with_field("license = {text = 'MIT'}"),
    "two lines": with_field(r'license = "MIT\nOR GPL"'),
    "a mark that turns text around": with_field(r'license = "MIT\u202e"'),
    "too long": with_field(f'license = "{"x" * (licenses.MAX_LICENSE_LENGTH + 1)}"'),
    "no package": packing.crate(toml="license = 'MIT'"),
    "package is a text": packing.crate(toml="package = 'MIT'"),
    "no TOML": packing.crate(toml="<html>"),
    "deep nesting": packing.crate(toml="x = " + "[" * 100_000),
    "manifest too large": packing.crate(toml="#" * (archive.MAX_FOREIGN_MANIFEST_SIZE + 1)),
    "no manifest": gzip.compress(packing.tar_of({"demo-1.0.0/src/lib.rs": ""})),
    "manifest elsewhere": gzip.compress(packing.tar_of({"demo/vendor/Cargo.toml": "", "Cargo.toml": ""})),
    "cut off": with_field('license = "MIT"')[:40],
    "no archive": b"the bytes of a crate",
    "no bytes": b"",
}


def test_unreadable_license_is_empty() -> None:
    assert {case: read(crate) for case, crate in UNREADABLE.items()} == dict.fromkeys(UNREADABLE, "")


def test_manifest_may_come_late() -> None:
    files = {"demo-1.0.0/src/lib.rs": "x" * 10_000, "demo-1.0.0/Cargo.toml": packing.manifest(extra='license = "MIT"')}
    assert read(gzip.compress(packing.tar_of(files))) == "MIT"
