"""Which license a crate is under, and whether it is one of those that are good here. Pure."""

import gzip
from io import BytesIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crates.mirror import licenses
from tests.support import packing

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


@pytest.mark.parametrize("license_", GOOD)
def test_license_is_good(license_: str) -> None:
    assert licenses.is_allowed(license_, ALLOWED)


@pytest.mark.parametrize("license_", NOT_GOOD)
def test_license_is_not_good(license_: str) -> None:
    assert not licenses.is_allowed(license_, ALLOWED)


@pytest.mark.parametrize("license_", BROKEN)
def test_broken_expression_is_not_good(license_: str) -> None:
    assert not licenses.is_allowed(license_, ALLOWED)


PARTS = ["MIT", "GPL-3.0", " ", "OR", "AND", "WITH", "(", ")", "+", "/", ",", ":", "|", "&", "~", "é", "\u2028"]


@given(st.lists(st.sampled_from(PARTS), max_size=20).map("".join) | st.text(max_size=licenses.MAX_LICENSE_LENGTH))
def test_any_text_is_good_or_not(license_: str) -> None:
    assert licenses.is_allowed(license_, ALLOWED) in (True, False)
    assert not licenses.is_allowed(license_, [])


# --- In a file ---------------------------------------------------------------------------------------------------


def of(crate: bytes) -> str:
    return licenses.read_license(BytesIO(crate), len(crate))


def saying(extra: str) -> bytes:
    """A crate whose `[package]` goes on so."""
    return packing.crate(toml=packing.manifest(extra=extra))


@pytest.mark.parametrize("license_", ["MIT", "MIT OR Apache-2.0", "Ünïcode <b>", "x" * licenses.MAX_LICENSE_LENGTH])
def test_license_is_that_of_the_manifest(license_: str) -> None:
    assert of(saying(f'license = "{license_}"')) == license_


NONE = {
    "that says none": saying(""),
    "with a file only": saying('license-file = "LICENSE"'),
    "with a number": saying("license = 1"),
    "with a table": saying("license = {text = 'MIT'}"),
    "with lines": saying(r'license = "MIT\nOR GPL"'),
    "with a mark that turns text around": saying(r'license = "MIT\u202e"'),
    "with a very long one": saying(f'license = "{"x" * (licenses.MAX_LICENSE_LENGTH + 1)}"'),
    "without a package": packing.crate(toml="license = 'MIT'"),
    "whose package is a text": packing.crate(toml="package = 'MIT'"),
    "of no TOML": packing.crate(toml="<html>"),
    "that nests deeply": packing.crate(toml="x = " + "[" * 100_000),
    "of a manifest that is too large": packing.crate(toml="#" * (licenses.MAX_MANIFEST_BYTES + 1)),
    "without a manifest": gzip.compress(packing.tar_of({"demo-1.0.0/src/lib.rs": ""})),
    "with a manifest elsewhere": gzip.compress(packing.tar_of({"demo/vendor/Cargo.toml": "", "Cargo.toml": ""})),
    "cut off": saying('license = "MIT"')[:40],
    "that is no archive": b"the bytes of a crate",
    "of no bytes": b"",
}


@pytest.mark.parametrize("crate", NONE.values(), ids=NONE)
def test_crate_without_a_license_that_can_be_read_has_none(crate: bytes) -> None:
    assert of(crate) == ""


def test_manifest_may_come_late() -> None:
    files = {"demo-1.0.0/src/lib.rs": "x" * 10_000, "demo-1.0.0/Cargo.toml": packing.manifest(extra='license = "MIT"')}
    assert of(gzip.compress(packing.tar_of(files))) == "MIT"
