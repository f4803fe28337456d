"""`PUT /api/v1/crates/new` under attack: each refusal has cargo's shape, and leaves no trace."""

import gzip
import hashlib
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

pytestmark = pytest.mark.database_independent

INDEX = "/index/de/mo/demo"
CRATES_IO = "https://github.com/rust-lang/crates.io-index"


def assert_refused(response: Any, status: int, word: str = "") -> None:
    """The status, and one sentence in the shape of cargo's API."""
    assert response.status_code == status, response.content
    assert response["Content-Type"] == "application/json"
    (error,) = response.json()["errors"]
    assert response.json() == {"errors": [{"detail": error["detail"]}]}
    assert 0 < len(error["detail"]) < 1000
    assert word in error["detail"]


def assert_nothing_there(client: CargoClient) -> None:
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
    "bomb": gzip.compress(entry("demo-1.0.0/x", size=b"%011o\0" % (70 << 20)) + bytes(70 << 20), 1, mtime=0),
}


@pytest.mark.parametrize("hostile", CRATES.values(), ids=CRATES)
def test_hostile_crate_is_refused(as_alice: CargoClient, hostile: bytes) -> None:
    assert_refused(as_alice.publish(frame(metadata(), hostile)), 400)
    assert_nothing_there(as_alice)


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
    "deps null": text_with(deps=None),
    "deps object": text_with(deps={}),
    "deps of nulls": text_with(deps=[None]),
    "features list": text_with(features=[]),
    "features null": text_with(features=None),
    "features of texts": text_with(features={"f": "g"}),
    "name number": text_with(name=1),
    "vers list": text_with(vers=["1.0.0"]),
    "links object": text_with(links={}),
    "rust_version number": text_with(rust_version=1.70),
}


@pytest.mark.parametrize("hostile", JSONS.values(), ids=JSONS)
def test_hostile_json_is_refused(as_alice: CargoClient, hostile: bytes) -> None:
    assert_refused(as_alice.publish(frame(hostile, crate())), 400)
    assert_nothing_there(as_alice)


def test_two_megabytes_of_keywords_are_refused(as_alice: CargoClient) -> None:
    assert_refused(as_alice.publish(body(keywords=["k" * 1000] * 2000)), 413, "JSON metadata")
    assert_nothing_there(as_alice)


@pytest.mark.parametrize("injection", ["a\n", "a\u2028", 'a"}', 'a"}\n{"name":"x"}'])
@pytest.mark.parametrize(
    ("toml", "changes"),
    [
        ("[features]\n{} = []", lambda text: {"features": {text: []}}),
        ("[features]\nf = [{}]", lambda text: {"features": {"f": [text]}}),
        ("[dependencies.{}]\nversion = '1'", lambda text: {"deps": [packing.dependency(text, registry=CRATES_IO)]}),
        ("links = {}", lambda text: {"links": text}),
        ("rust-version = {}", lambda text: {"rust_version": text}),
    ],
    ids=["feature", "value of a feature", "dependency", "links", "rust_version"],
)
def test_injection_into_the_index_is_refused(
    as_alice: CargoClient, toml: str, changes: Callable[[str], dict[str, Any]], injection: str
) -> None:
    text = manifest(extra=toml.format(json.dumps(injection)))
    assert_refused(as_alice.publish(body(toml=text, **changes(injection))), 400)
    assert_nothing_there(as_alice)


@pytest.mark.parametrize(
    "registry", ["file:///etc", "http://169.254.169.254/", "sparse+https://host/index.git", "https://host/index"]
)
def test_dependency_from_elsewhere_is_refused(as_alice: CargoClient, registry: str) -> None:
    toml = manifest() + f'[dependencies.base]\nversion = "1"\nregistry-index = "{registry}"'
    sent = body(toml=toml, deps=[packing.dependency("base", registry=registry)])
    assert_refused(as_alice.publish(sent), 400, registry)
    assert_nothing_there(as_alice)


@override_settings(ALLOWED_REGISTRIES=["sparse+https://host/index/"])
def test_dependency_from_an_allowed_registry_is_taken(as_alice: CargoClient) -> None:
    registry = "sparse+https://host/index/"
    toml = manifest() + f'[dependencies.base]\nversion = "1"\nregistry-index = "{registry}"'
    sent = body(toml=toml, deps=[packing.dependency("base", registry=registry)])
    assert as_alice.publish(sent).status_code == 200


@pytest.mark.parametrize(
    "changes",
    [
        {"name": "Demo"},
        {"vers": "1.0.1"},
        {"links": "z"},
        {"rust_version": "1.70"},
        {"features": {"f": []}},
        {"deps": [packing.dependency("base")]},
    ],
)
def test_json_that_contradicts_the_crate_is_refused(as_alice: CargoClient, changes: dict[str, Any]) -> None:
    assert_refused(as_alice.publish(frame(metadata() | changes, crate())), 400)
    assert_nothing_there(as_alice)


def test_root_may_not_hide_another_name(as_alice: CargoClient) -> None:
    """Names and root agree, but not with the manifest."""
    assert_refused(as_alice.publish(frame(metadata(), crate(toml=manifest(name="other")))), 400, "disagree on name")
    assert_nothing_there(as_alice)


@pytest.mark.parametrize("key", ["homepage", "repository", "documentation"])
def test_javascript_url_is_refused(as_alice: CargoClient, key: str) -> None:
    assert_refused(as_alice.publish(body(toml=manifest(extra=f'{key} = "javascript:alert(1)"'))), 400, key)
    assert_nothing_there(as_alice)


def test_invalid_category_comes_back_as_a_warning(as_alice: CargoClient) -> None:
    toml = manifest(extra='categories = ["Not A Slug", "os"]\ndescription = "d"\nlicense = "MIT"')
    response = as_alice.publish(body(toml=toml))
    warnings = {"invalid_categories": ["Not A Slug"], "invalid_badges": [], "other": []}
    assert (response.status_code, response.json()) == (200, {"warnings": warnings})


# --- Names and versions -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "",
        "1a",
        "-a",
        "_a",
        "a" * 65,
        "..",
        "../a",
        "a/b",
        "a\\b",
        "a b",
        "a\n",
        "\u0455erde",
        "nul",
        "CON",
        "com1",
        "std",
    ],
)
def test_bad_name_is_refused(as_alice: CargoClient, name: str) -> None:
    sent = frame(metadata(name), crate(name, toml=f'[package]\nname = {json.dumps(name)}\nversion = "1.0.0"'))
    assert_refused(as_alice.publish(sent), 400)
    assert not Crate.objects.exists()


@pytest.mark.parametrize(
    "version",
    ["", "1.0", "01.0.0", " 1.0.0", "1.0.0 ", "1.0.0\n", "1.0.0%0a", "v1.0.0", "1.0.0/..", "../1.0.0", "1" * 10_000],
)
def test_bad_version_is_refused(as_alice: CargoClient, version: str) -> None:
    assert_refused(as_alice.publish(frame(metadata(version=version), crate())), 400)
    assert_nothing_there(as_alice)


@pytest.mark.parametrize(("first", "second"), [("foo-bar", "Foo_bar"), ("foo_bar", "foo-bar"), ("foo", "FOO")])
def test_other_spelling_of_a_name_is_refused(as_alice: CargoClient, first: str, second: str) -> None:
    as_alice.publish(body(first))
    assert_refused(as_alice.publish(body(second, "2.0.0")), 409, f"the same name as {first}")
    assert [crate.name for crate in Crate.objects.all()] == [first]


def test_other_spelling_of_a_strangers_name_is_refused(as_alice: CargoClient, as_charlie: CargoClient) -> None:
    as_alice.publish(body("foo-bar"))
    assert as_charlie.publish(body("Foo_Bar", "2.0.0")).status_code in (403, 409)
    assert Version.objects.count() == 1


@pytest.mark.parametrize(
    ("first", "second"), [("1.0.7", "1.0.7+x"), ("1.0.7+x", "1.0.7"), ("1.0.7+x", "1.0.7+y"), ("1.0.7-a", "1.0.7-a+x")]
)
def test_version_that_differs_in_build_metadata_only_is_refused(as_alice: CargoClient, first: str, second: str) -> None:
    as_alice.publish(body(version=first))
    assert_refused(as_alice.publish(body(version=second)), 409, "already exists")
    assert [json.loads(line)["vers"] for line in as_alice.get(INDEX).content.splitlines()] == [first]


def test_yanked_version_is_not_free_again(as_alice: CargoClient) -> None:
    as_alice.publish(body())
    as_alice.delete("/api/v1/crates/demo/1.0.0/yank")
    assert_refused(as_alice.publish(body(toml=manifest(extra="# other"))), 409, "already exists")
    assert json.loads(as_alice.get(INDEX).content)["yanked"] is True


def test_same_bytes_again_change_nothing(as_alice: CargoClient) -> None:
    first = as_alice.publish(body())
    before = as_alice.get(INDEX)
    again = as_alice.publish(body())
    assert (again.status_code, again.json()) == (200, first.json())
    assert as_alice.get(INDEX)["Last-Modified"] == before["Last-Modified"]
    assert AuditEvent.objects.filter(action="crate.publish").count() == 1


def test_crates_with_alike_names_stay_apart(as_alice: CargoClient, as_charlie: CargoClient) -> None:
    as_alice.publish(body("foo", "1.0.0-1"))
    assert as_charlie.publish(body("foo-1", "1.0.0")).status_code == 200
    assert as_alice.get("/dl/foo/1.0.0-1/download").getvalue() == crate("foo", "1.0.0-1")
    assert as_alice.get("/dl/foo-1/1.0.0/download").getvalue() == crate("foo-1", "1.0.0")


# --- Lengths ----------------------------------------------------------------------------------------------------


def test_body_without_a_length_is_refused(as_alice: CargoClient) -> None:
    response = as_alice.generic("PUT", "/api/v1/crates/new", HTTP_TRANSFER_ENCODING="chunked")
    assert_refused(response, 411, "Content-Length")


@pytest.mark.parametrize("length", ["0", "-1", "abc", "1e3", "+5", "\u0663", " ", "9" * 5000])
def test_absurd_length_is_refused(as_alice: CargoClient, length: str) -> None:
    response = as_alice.generic("PUT", "/api/v1/crates/new", body(), CONTENT_LENGTH=length)
    assert response.status_code in (400, 411, 413)
    assert set(response.json()) == {"errors"}
    assert_nothing_there(as_alice)


@pytest.mark.parametrize("length", ["5368709120", "9" * 30])
def test_five_gigabytes_are_refused_unread(as_alice: CargoClient, length: str) -> None:
    response = as_alice.generic("PUT", "/api/v1/crates/new", body(), CONTENT_LENGTH=length)
    assert_refused(response, 413, "this registry takes crates of at most")


@pytest.mark.parametrize(
    "sent",
    [
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
    ],
    ids=range(10),
)
def test_contradicting_lengths_are_refused(as_alice: CargoClient, sent: bytes) -> None:
    response = as_alice.publish(sent)
    assert response.status_code in (400, 411, 413)
    assert set(response.json()) == {"errors"}
    assert_nothing_there(as_alice)


def test_one_byte_over_the_limit_is_refused(as_alice: CargoClient) -> None:
    with override_settings(MAX_CRATE_SIZE=len(crate()) - 1):
        assert_refused(as_alice.publish(body()), 413)
    with override_settings(MAX_CRATE_SIZE=len(crate())):
        assert as_alice.publish(body()).status_code == 200


@pytest.mark.parametrize(
    "content_type",
    [
        "",
        "application/octet-stream",
        "application/json",
        "text/html",
        "multipart/form-data; boundary=x",
        "\u00fc",
        "a/b;" * 99,
    ],
)
def test_content_type_does_not_count(as_alice: CargoClient, content_type: str) -> None:
    response = as_alice.generic("PUT", "/api/v1/crates/new", body(), content_type=content_type)
    assert response.status_code == 200


@pytest.mark.parametrize("method", ["get", "post", "patch", "delete"])
def test_other_method_is_refused(as_alice: CargoClient, method: str) -> None:
    response = getattr(as_alice, method)("/api/v1/crates/new")
    assert_refused(response, 405)
    assert "PUT" in response["Allow"]


# --- Anything at all --------------------------------------------------------------------------------------------

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
    for where, length, text in edits:
        position = int(where * len(data))
        data = data[:position] + text + data[position + length :]
    return data


def assert_all_or_nothing(client: CargoClient, response: Any) -> None:
    """After 200 there is one version, in the index and as bytes, under its checksum; after a refusal, nothing."""
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


def forget_crates() -> None:
    Crate.objects.update(newest=None)
    Version.objects.all().delete()
    Crate.objects.all().delete()


def test_rich_publish_is_taken(as_alice: CargoClient) -> None:
    response = as_alice.publish(frame(RICH_JSON, RICH_CRATE))
    assert response.status_code == 200
    assert_all_or_nothing(as_alice, response)


@pytest.mark.parametrize("layer", LAYERS)
def test_mutated_publish_is_all_or_nothing(as_alice: CargoClient, layer: str) -> None:
    original, wrap = LAYERS[layer]

    @settings(max_examples=150, deadline=None)
    @given(_edits)
    def check(edits: list[tuple[float, int, bytes]]) -> None:
        assert_all_or_nothing(as_alice, as_alice.publish(wrap(edit(original, edits))))
        forget_crates()

    with override_settings(PUBLISH_LIMIT_PER_10_SECONDS=0):
        check()
