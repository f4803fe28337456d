"""Hostile bodies for `PUT /api/v1/crates/new`: each refusal has cargo's shape and leaves no trace."""

import gzip
import hashlib
import io
import json
import struct
from collections.abc import Callable
from typing import Any

import pytest
from django.test import override_settings
from hypothesis import given, settings
from hypothesis import strategies as st

from crates.models import Crate, Version
from registry_site.models import AuditEvent
from tests.support import packing
from tests.support.cast import CargoClient
from tests.support.packing import body, crate, crate_around, entry, frame, long_name, manifest, metadata

pytestmark = [pytest.mark.database_independent, pytest.mark.long]

INDEX = "/index/de/mo/demo"
CRATES_IO = "https://github.com/rust-lang/crates.io-index"


def assert_refused(response: Any, status: int, word: str = "") -> None:
    """Assert the status and one sentence in the shape of cargo's API."""
    assert response.status_code == status, response.content
    assert response["Content-Type"] == "application/json"
    (error,) = response.json()["errors"]
    assert response.json() == {"errors": [{"detail": error["detail"]}]}
    assert 0 < len(error["detail"]) < 1000
    assert word in error["detail"]


def assert_no_trace(client: CargoClient) -> None:
    assert not Crate.objects.exists()
    assert not AuditEvent.objects.filter(action="crate.publish").exists()
    assert client.get(INDEX).status_code == 404
    assert client.get("/dl/demo/1.0.0/download").status_code == 404


# --- The crate --------------------------------------------------------------------------------------------------

CRATES = {
    "empty": b"",
    "not gzip": b"not a crate",
    "zip renamed": b"PK\x03\x04" + bytes(100),
    "cut gzip": crate()[:-1],
    "garbage after": crate() + b"\0",
    "two members": crate() + crate(),
    "cut tar": gzip.compress(packing.tar_around(entry(data=b"x"))[:1600]),
    "no manifest": gzip.compress(entry("demo-1.0.0/src/lib.rs") + packing.END),
    "other root": crate(name="other"),
    "other version": crate(version="1.0.1"),
    "outside": crate_around(entry("demo-1.0.0/../x")),
    "absolute": crate_around(entry("/etc/cron.d/x")),
    "symbolic link": crate_around(entry(kind=b"2", linkname=b"/etc/passwd")),
    "hard link": crate_around(entry(kind=b"1", linkname=b"demo-1.0.0/Cargo.toml")),
    "device": crate_around(entry(kind=b"3")),
    "two manifests": crate_around(entry("demo-1.0.0/Cargo.toml")),
    "colliding manifests": crate_around(entry("demo-1.0.0/cargo.toml")),
    "colliding directories": crate_around(entry("demo-1.0.0/src/a"), entry("demo-1.0.0/SRC/a")),
    "writable by all": crate_around(entry(mode=b"0000777\0")),
    "setuid": crate_around(entry(mode=b"0004755\0")),
    "sticky": crate_around(entry(mode=b"0001777\0")),
    "pax path": crate_around(entry("PaxHeaders/x", b"16 path=../../x\n", kind=b"x"), entry()),
    "pax size": crate_around(entry("PaxHeaders/x", b"12 size=999\n", kind=b"x"), entry()),
    "malformed pax": crate_around(entry("PaxHeaders/x", b"99999 \xff", kind=b"x"), entry()),
    "3 GiB of name": crate_around(long_name(b"x", size=b"30000000000\0"), entry()),
    "deep directories": crate_around(
        entry("/".join(["d"] * 40), prefix=b"demo-1.0.0" + b"/d" * 60, magic=b"ustar\x0000")
    ),
    "300 characters": crate_around(long_name(b"demo-1.0.0/" + b"a" * 300 + b"\0"), entry()),
    "negative size": crate_around(entry(size=b"\xff" * 12)),
    "base 256 size": crate_around(entry(size=b"\x80" + bytes(10) + b"\x01")),
    "wrong checksum": crate_around(entry(checksum=b"0000000\0")),
}


def test_hostile_crate_is_refused(as_alice: CargoClient) -> None:
    bomb = gzip.compress(entry("demo-1.0.0/x", size=b"%011o\0" % (70 << 20)) + bytes(70 << 20), 1, mtime=0)
    crates = {**CRATES, "bomb": bomb}
    responses = {name: as_alice.publish(frame(metadata(), hostile)) for name, hostile in crates.items()}
    assert [name for name, response in responses.items() if response.status_code != 400] == []
    for response in responses.values():
        assert_refused(response, 400)
    assert_no_trace(as_alice)


# --- The metadata -----------------------------------------------------------------------------------------------


def text_with(**changes: Any) -> bytes:
    return json.dumps(metadata() | changes).encode()


JSONS = {
    "empty": b"",
    "null": b"null",
    "list": b"[]",
    "text": b'"demo"',
    "100,000 brackets": b"[" * 100_000,
    "nested keywords": b'{"keywords":' * 80_000,
    "NaN": text_with(badges=float("nan")),
    "infinity": text_with(badges=float("inf")),
    "5,000 digits": text_with().replace(b'"badges": {}', b'"badges": ' + b"1" * 5_000),
    "half a surrogate": text_with(description="\ud800"),
    "half a surrogate as a key": text_with(badges={"\udfff": 1}),
    "NUL": text_with(description="a\0b"),
    "not UTF-8": text_with() + b"\xff",
    "byte order mark": b"\xef\xbb\xbf" + text_with(),
    "UTF-16": text_with().decode().encode("utf-16"),
    "two values": text_with() * 2,
    "name number": text_with(name=1),
    "vers list": text_with(vers=["1.0.0"]),
}


def test_hostile_json_is_refused(as_alice: CargoClient) -> None:
    responses = {name: as_alice.publish(frame(hostile, crate())) for name, hostile in JSONS.items()}
    assert [name for name, response in responses.items() if response.status_code != 400] == []
    for response in responses.values():
        assert_refused(response, 400)
    assert_no_trace(as_alice)


def test_two_megabytes_of_keywords_are_refused(as_alice: CargoClient) -> None:
    assert_refused(as_alice.publish(body(keywords=["k" * 1000] * 2000)), 413, "JSON metadata")
    assert_no_trace(as_alice)


# By the field that holds the text.
INJECTIONS = {
    "feature": "[features]\n{} = []",
    "value of a feature": "[features]\nf = [{}]",
    "dependency": "[dependencies.{}]\nversion = '1'",
    "rust_version": "rust-version = {}",
}


def test_injection_into_the_index_is_refused(as_alice: CargoClient) -> None:
    for toml in INJECTIONS.values():
        for text in ("a\n", "a\u2028", 'a"}', 'a"}\n{"name":"x"}'):
            assert_refused(as_alice.publish(body(toml=manifest(extra=toml.format(json.dumps(text))))), 400)
    assert_no_trace(as_alice)


def test_odd_links_stay_within_their_line(as_alice: CargoClient) -> None:
    """cargo takes any text as `links`."""
    links = 'a"},{"name":"x" \\ foo bar/baz@2'
    assert as_alice.publish(body(toml=manifest(extra=f"links = {json.dumps(links)}"))).status_code == 200
    (line,) = as_alice.get(INDEX).content.splitlines()
    assert (json.loads(line)["name"], json.loads(line)["links"]) == ("demo", links)


def test_dependency_from_another_registry_is_refused(as_alice: CargoClient) -> None:
    for registry in ("file:///etc", "http://169.254.169.254/", "sparse+https://host/index.git", "https://host/index"):
        toml = manifest() + f'[dependencies.base]\nversion = "1"\nregistry-index = "{registry}"'
        assert_refused(as_alice.publish(body(toml=toml)), 400, registry)
    assert_no_trace(as_alice)


@override_settings(ALLOWED_REGISTRIES=["sparse+https://host/index/"])
def test_dependency_from_an_allowed_registry_is_accepted(as_alice: CargoClient) -> None:
    registry = "sparse+https://host/index/"
    toml = manifest() + f'[dependencies.base]\nversion = "1"\nregistry-index = "{registry}"'
    assert as_alice.publish(body(toml=toml)).status_code == 200


def test_json_about_another_crate_is_refused(as_alice: CargoClient) -> None:
    for changes in ({"name": "Demo"}, {"vers": "1.0.1"}):
        assert_refused(as_alice.publish(frame(metadata() | changes, crate())), 400)
    assert_no_trace(as_alice)


def test_manifest_counts_and_not_the_json(as_alice: CargoClient) -> None:
    changes = {"deps": [packing.dependency("base")], "features": {"f": []}, "links": "z", "rust_version": "1.70"}
    assert as_alice.publish(frame(metadata() | changes, crate())).status_code == 200
    line = json.loads(as_alice.get(INDEX).content)
    assert (line["deps"], line["features"], line["links"], "rust_version" in line) == ([], {}, None, False)


def test_name_in_the_manifest_has_to_agree(as_alice: CargoClient) -> None:
    """Names and root agree, but not with the manifest."""
    assert_refused(as_alice.publish(frame(metadata(), crate(toml=manifest(name="other")))), 400, "disagree on name")
    assert_no_trace(as_alice)


def test_javascript_url_is_refused(as_alice: CargoClient) -> None:
    for key in ("homepage", "repository", "documentation"):
        assert_refused(as_alice.publish(body(toml=manifest(extra=f'{key} = "javascript:alert(1)"'))), 400, key)
    assert_no_trace(as_alice)


def test_invalid_category_comes_back_as_a_warning(as_alice: CargoClient) -> None:
    toml = manifest(extra='categories = ["Not A Slug", "os"]\ndescription = "d"\nlicense = "MIT"')
    response = as_alice.publish(body(toml=toml))
    warnings = {"invalid_categories": ["Not A Slug"], "invalid_badges": [], "other": []}
    assert (response.status_code, response.json()) == (200, {"warnings": warnings})


# --- Names and versions -----------------------------------------------------------------------------------------


BAD_NAMES = [
    *("", "1a", "-a", "_a", "a" * 65, "..", "../a", "a/b", "a\\b", "a b", "a\n", "\u0455erde"),
    *("nul", "CON", "com1", "std"),
]


def test_bad_name_is_refused(as_alice: CargoClient) -> None:
    for name in BAD_NAMES:
        toml = f'[package]\nname = {json.dumps(name)}\nversion = "1.0.0"'
        assert_refused(as_alice.publish(frame(metadata(name), crate(name, toml=toml))), 400)
    assert not Crate.objects.exists()


BAD_VERSIONS = [
    *("", "1.0", "01.0.0", " 1.0.0", "1.0.0 ", "1.0.0\n", "1.0.0%0a", "v1.0.0", "1.0.0/..", "../1.0.0", "1" * 10_000),
]


def test_bad_version_is_refused(as_alice: CargoClient) -> None:
    for version in BAD_VERSIONS:
        assert_refused(as_alice.publish(frame(metadata(version=version), crate())), 400)
    assert_no_trace(as_alice)


def test_other_spelling_of_a_name_is_refused(as_alice: CargoClient) -> None:
    for name in ("foo-bar", "plain"):
        as_alice.publish(body(name))
    for name, spelling in (("foo-bar", "Foo_bar"), ("foo-bar", "foo_bar"), ("plain", "PLAIN")):
        assert_refused(as_alice.publish(body(spelling, "2.0.0")), 409, f"the same name as {name}")
    assert [crate.name for crate in Crate.objects.all()] == ["foo-bar", "plain"]


def test_other_spelling_of_a_strangers_name_is_refused(as_alice: CargoClient, as_charlie: CargoClient) -> None:
    as_alice.publish(body("foo-bar"))
    assert as_charlie.publish(body("Foo_Bar", "2.0.0")).status_code in (403, 409)
    assert Version.objects.count() == 1


def test_other_build_metadata_is_refused(as_alice: CargoClient) -> None:
    pairs = [("1.0.6", "1.0.6+x"), ("1.0.7+x", "1.0.7"), ("1.0.8+x", "1.0.8+y"), ("1.0.9-a", "1.0.9-a+x")]
    for first, second in pairs:
        as_alice.publish(body(version=first))
        assert_refused(as_alice.publish(body(version=second)), 409, "already exists")
    published = [json.loads(line)["vers"] for line in as_alice.get(INDEX).content.splitlines()]
    assert published == [first for first, _ in pairs]


def test_yanked_version_stays_taken(as_alice: CargoClient) -> None:
    as_alice.publish(body())
    as_alice.delete("/api/v1/crates/demo/1.0.0/yank")
    assert_refused(as_alice.publish(body(toml=manifest(extra="# other"))), 409, "already exists")
    assert json.loads(as_alice.get(INDEX).content)["yanked"] is True


def test_same_bytes_again_change_nothing(as_alice: CargoClient) -> None:
    as_alice.publish(body())
    before = as_alice.get(INDEX)
    again = as_alice.publish(body())
    sentence = "demo@1.0.0 was published before with the same bytes: nothing changes"
    assert (again.status_code, again.json()["warnings"]["other"]) == (200, [sentence])
    assert as_alice.get(INDEX)["Last-Modified"] == before["Last-Modified"]
    assert AuditEvent.objects.filter(action="crate.publish").count() == 1


def test_crates_with_alike_names_stay_apart(as_alice: CargoClient, as_charlie: CargoClient) -> None:
    as_alice.publish(body("foo", "1.0.0-1"))
    assert as_charlie.publish(body("foo-1", "1.0.0")).status_code == 200
    assert as_alice.get("/dl/foo/1.0.0-1/download").getvalue() == crate("foo", "1.0.0-1")
    assert as_alice.get("/dl/foo-1/1.0.0/download").getvalue() == crate("foo-1", "1.0.0")


# --- Lengths ----------------------------------------------------------------------------------------------------


def test_body_without_a_length_is_refused(as_alice: CargoClient) -> None:
    for sent in (b"", body()):
        chunked: Any = {
            "HTTP_TRANSFER_ENCODING": "chunked",
            "CONTENT_LENGTH": "",
            "wsgi.input": io.BytesIO(sent),
        }
        assert_refused(as_alice.generic("PUT", "/api/v1/crates/new", sent, **chunked), 411, "Content-Length")


def test_absurd_length_is_refused(as_alice: CargoClient) -> None:
    for length in ("0", "-1", "abc", "1e3", "+5", "\u0663", " ", "9" * 5000):
        response = as_alice.generic("PUT", "/api/v1/crates/new", body(), CONTENT_LENGTH=length)
        assert response.status_code in (400, 411, 413)
        assert set(response.json()) == {"errors"}
    assert_no_trace(as_alice)


def test_five_gigabytes_are_refused_unread(as_alice: CargoClient) -> None:
    for length in ("5368709120", "9" * 30):
        response = as_alice.generic("PUT", "/api/v1/crates/new", body(), CONTENT_LENGTH=length)
        assert_refused(response, 413, "this registry takes crates of at most")


CONTRADICTING_LENGTHS = [
    b"",
    b"\0",
    bytes(8),
    b"{}",
    body() + b"\0",
    body() + body(),
    body()[:-1],
    struct.pack("<I", 2**32 - 1) + body()[4:],
    struct.pack("<I", 2**20) + body()[4:],
    struct.pack(">I", 400) + body()[4:],
]


def test_contradicting_lengths_are_refused(as_alice: CargoClient) -> None:
    for sent in CONTRADICTING_LENGTHS:
        response = as_alice.publish(sent)
        assert response.status_code in (400, 411, 413)
        assert set(response.json()) == {"errors"}
    assert_no_trace(as_alice)


def test_one_byte_over_the_limit_is_refused(as_alice: CargoClient) -> None:
    with override_settings(MAX_CRATE_SIZE=len(crate()) - 1):
        assert_refused(as_alice.publish(body()), 413)
    with override_settings(MAX_CRATE_SIZE=len(crate())):
        assert as_alice.publish(body()).status_code == 200


def test_content_type_does_not_count(as_alice: CargoClient) -> None:
    types = ["", "application/json", "text/html", "multipart/form-data; boundary=x", "\u00fc", "a/b;" * 99]
    for content_type in types:  # the same bytes again succeed
        response = as_alice.generic("PUT", "/api/v1/crates/new", body(), content_type=content_type)
        assert response.status_code == 200


def test_other_method_is_refused(as_alice: CargoClient) -> None:
    for method in ("GET", "POST", "PATCH", "DELETE"):
        response = as_alice.generic(method, "/api/v1/crates/new")
        assert_refused(response, 405)
        assert "PUT" in response["Allow"]


# --- Any input --------------------------------------------------------------------------------------------------

RICH = (
    manifest(extra='links = "z"\nrust-version = "1.70"\ndescription = "d"\nkeywords = ["k"]')
    + "[features]\nf = ['dep:opt']\n[dependencies]\nopt = { version = '1', optional = true }\n"
)
RICH_JSON = json.dumps(
    metadata(
        links="z",
        rust_version="1.70",
        features={"f": ["dep:opt"]},
        deps=[packing.dependency("opt", optional=True, registry=CRATES_IO)],
    )
).encode()
RICH_TAR = packing.tar_of({"demo-1.0.0/Cargo.toml": RICH, "demo-1.0.0/src/lib.rs": ""})
RICH_CRATE = gzip.compress(RICH_TAR, mtime=0)

# Cut a piece out, put another in: insertion, deletion and change.
_edits = st.lists(
    st.tuples(
        st.floats(0, 1), st.integers(0, 3), st.binary(max_size=3) | st.sampled_from([b'"', b"}", b"\n", b"0", b"\0"])
    ),
    min_size=1,
    max_size=3,
)
LAYERS: dict[str, tuple[bytes, Callable[[bytes], bytes]]] = {
    "body": (frame(RICH_JSON, RICH_CRATE), lambda edited: edited),
    "json": (RICH_JSON, lambda edited: frame(edited, RICH_CRATE)),
    "gzip": (RICH_CRATE, lambda edited: frame(RICH_JSON, edited)),
    "tar": (RICH_TAR[:2048], lambda edited: frame(RICH_JSON, gzip.compress(edited + RICH_TAR[2048:], 1))),
    "toml": (RICH.encode(), lambda edited: frame(RICH_JSON, crate(toml=edited.decode("latin-1")))),
}


def edit(data: bytes, edits: list[tuple[float, int, bytes]]) -> bytes:
    for fraction, length, text in edits:
        position = int(fraction * len(data))
        data = data[:position] + text + data[position + length :]
    return data


def assert_all_or_nothing(client: CargoClient, response: Any) -> None:
    """Assert one version after 200, in the index and as bytes under its checksum; after a refusal, no rows."""
    if response.status_code != 200:
        assert 400 <= response.status_code < 500
        assert set(response.json()) == {"errors"}
        assert not Version.objects.exists()
        assert not Crate.objects.exists()
        return
    version = Version.objects.select_related("crate").get()
    line = json.loads(client.get(f"/index/{version.crate.index_path}").content)
    assert (line["name"], line["vers"], line["cksum"]) == (version.crate.name, version.number, version.checksum)
    served = client.get(f"/dl/{version.crate.name}/{version.number}/download").getvalue()
    assert hashlib.sha256(served).hexdigest() == version.checksum


def delete_crates() -> None:
    Version.objects.all().delete()
    Crate.objects.all().delete()


def test_rich_publish_is_accepted(as_alice: CargoClient) -> None:
    response = as_alice.publish(frame(RICH_JSON, RICH_CRATE))
    assert response.status_code == 200
    assert_all_or_nothing(as_alice, response)


@pytest.mark.parametrize("layer", LAYERS)
def test_mutated_publish_is_all_or_nothing(as_alice: CargoClient, layer: str) -> None:
    original, wrap = LAYERS[layer]

    @settings(max_examples=150)
    @given(_edits)
    def check(edits: list[tuple[float, int, bytes]]) -> None:
        assert_all_or_nothing(as_alice, as_alice.publish(wrap(edit(original, edits))))
        delete_crates()

    with override_settings(PUBLISH_LIMIT_PER_10_SECONDS=0, CRATE_CHANGES_PER_MINUTE=0):
        check()
