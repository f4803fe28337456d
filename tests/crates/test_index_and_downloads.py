"""`config.json`, index files and `.crate` files: their bytes, their caching and the right to read them."""

import json
from typing import Any

import pytest
from django.test import Client, override_settings
from django.utils.http import http_date

from accounts.credentials import cargo_tokens
from accounts.models import User
from crates.models import Version
from tests.support import packing
from tests.support.cast import CargoClient

INDEX = "/index/de/mo/demo"
DOWNLOAD = "/dl/demo/1.0.0/download"


@pytest.fixture(autouse=True)
def demo(as_alice: CargoClient) -> None:
    as_alice.publish(packing.body())


def test_config_has_the_urls(anonymous: CargoClient) -> None:
    assert anonymous.get("/index/config.json").json() == {"dl": "http://testserver/dl", "api": "http://testserver"}


def test_index_file_stands_where_cargo_looks(as_alice: CargoClient) -> None:
    for name, path in {"a": "1/a", "Ab": "2/ab", "aBc": "3/a/abc", "Mixed-Case_x": "mi/xe/mixed-case_x"}.items():
        as_alice.publish(packing.body(name))
        assert f'"name":"{name}"' in as_alice.get(f"/index/{path}").content.decode()


def test_other_paths_of_the_index_are_missing(anonymous: CargoClient) -> None:
    for path in (
        "de/mo/de_mo",
        "de/mo/",
        "de/mo/demo/",
        "../config.json",
    ):
        response = anonymous.get(f"/index/{path}")
        assert (response.status_code, set(response.json())) == (404, {"errors"})
    assert anonymous.get("/index/").status_code == 404


def test_last_segment_of_an_index_path_decides(as_alice: CargoClient) -> None:
    as_alice.publish(packing.body("Abc"))
    paths = {"demo": ("de/mo/Demo", "DE/MO/demo", "demo", "1/demo", "/demo"), "Abc": ("3/ab/abc", "3/a/ABC")}
    offenders = [
        path
        for name, misspelt in paths.items()
        for path in misspelt
        if f'{{"name":"{name}"' not in as_alice.get(f"/index/{path}").content.decode()
    ]
    assert offenders == []


def test_dependabot_reads_private_index_files(as_alice: CargoClient) -> None:
    """As its package_details_fetcher asks with the bare token, and its metadata_finder with a scheme of its own."""
    paths = {"a": "1/a", "Ab": "2/Ab", "Abc": "3/Ab/Abc", "Mixed-Case": "Mi/xe/Mixed-Case"}
    for name in paths:
        as_alice.publish(packing.body(name, "1.0.0"))
        as_alice.publish(packing.body(name, "1.1.0"))
    as_alice.delete("/api/v1/crates/Abc/1.0.0/yank")
    agent = {"User-Agent": "Dependabot (dependabot.com)"}
    with override_settings(AUTH_REQUIRED=True):
        answers = {
            (name, scheme): Client(headers={"Authorization": f"{scheme}{as_alice.token}", **agent}).get(
                f"/index/{path}"
            )
            for name, path in paths.items()
            for scheme in ("", "Token ")
        }
    # It parses each line, blank ones too, and proposes what is not yanked.
    lines = {key: [json.loads(line) for line in answer.text.splitlines()] for key, answer in answers.items()}
    proposed = {key: [line["vers"] for line in parsed if not line["yanked"]] for key, parsed in lines.items()}
    assert proposed == {key: ["1.1.0"] if key[0] == "Abc" else ["1.0.0", "1.1.0"] for key in answers}


@pytest.mark.parametrize("path", [INDEX, DOWNLOAD])
@pytest.mark.parametrize(("sent", "received"), [("If-None-Match", "ETag"), ("If-Modified-Since", "Last-Modified")])
def test_each_validator_alone_gives_304(anonymous: CargoClient, path: str, sent: str, received: str) -> None:
    first = anonymous.get(path)
    first.getvalue()
    second = anonymous.get(path, headers={sent: first[received]})
    assert (second.status_code, second.content) == (304, b"")
    assert second["ETag"] == first["ETag"]


def test_weak_and_listed_validators_give_304(anonymous: CargoClient) -> None:
    current = anonymous.get(INDEX)["ETag"]
    for etag in (f"W/{current}", f'"other", {current}', "*"):
        assert anonymous.get(INDEX, headers={"If-None-Match": etag}).status_code == 304


def test_tag_of_a_compressing_proxy_gives_304(anonymous: CargoClient) -> None:
    tag = anonymous.get(INDEX)["ETag"].strip('"')
    same = (f'"{tag}-gzip"', f'W/"{tag}-br"', f'"{tag};gzip"', f'"{tag}-zstd"', f'"{tag}--gzip"')
    for sent in (*same, f'"x-gzip", {same[0]}'):
        assert anonymous.get(INDEX, headers={"If-None-Match": sent}).status_code == 304, sent
    assert anonymous.get(INDEX, headers={"If-None-Match": f'"{tag}-zip"'}).status_code == 200


def test_other_validators_give_the_whole_file(anonymous: CargoClient) -> None:
    old = "Thu, 01 Jan 2015 00:00:00 GMT"
    for headers in (
        {"If-None-Match": '"x"'},
        {"If-None-Match": "x"},
        {"If-Modified-Since": "x"},
        {"If-Modified-Since": old},
    ):
        assert anonymous.get(INDEX, headers=headers).status_code == 200


def test_two_changes_in_one_second_differ_in_time(as_alice: CargoClient) -> None:
    first = as_alice.get(INDEX)["Last-Modified"]
    as_alice.delete("/api/v1/crates/demo/1.0.0/yank")
    assert as_alice.get(INDEX, headers={"If-Modified-Since": first}).status_code == 200


def test_index_file_takes_one_query(anonymous: CargoClient, django_assert_num_queries: Any) -> None:
    with django_assert_num_queries(1):
        anonymous.get(INDEX)


def test_download_takes_one_query(anonymous: CargoClient, django_assert_num_queries: Any) -> None:
    with django_assert_num_queries(1):
        anonymous.get(DOWNLOAD).getvalue()


def test_head_has_the_length_and_no_body(anonymous: CargoClient) -> None:
    response = anonymous.head(DOWNLOAD)
    assert response["Content-Length"] == str(len(packing.crate()))
    assert response.content == b""


def test_download_can_be_resumed(anonymous: CargoClient) -> None:
    response = anonymous.get(DOWNLOAD, headers={"Range": "bytes=100-"})
    assert response.status_code == 206
    assert response["Content-Range"] == f"bytes 100-{len(packing.crate()) - 1}/{len(packing.crate())}"
    assert response.getvalue() == packing.crate()[100:]


def test_download_is_never_encoded(anonymous: CargoClient) -> None:
    response = anonymous.get(DOWNLOAD, headers={"Accept-Encoding": "gzip, deflate"})
    assert not response.has_header("Content-Encoding")
    assert response.getvalue() == packing.crate()


def test_download_may_be_cached_for_ever(anonymous: CargoClient) -> None:
    response = anonymous.get(DOWNLOAD)
    response.getvalue()
    assert response["Cache-Control"] == "public, max-age=31536000, immutable"


def test_download_ignores_case_and_dashes(as_alice: CargoClient) -> None:
    as_alice.publish(packing.body("Mixed-Case"))
    response = as_alice.get("/dl/mixed_case/1.0.0/download")
    assert response.getvalue() == packing.crate("Mixed-Case")
    assert 'filename="Mixed-Case-1.0.0.crate"' in response["Content-Disposition"]
    assert response["Last-Modified"] == http_date(Version.objects.latest("pk").published_at.timestamp())


def test_index_file_is_revalidated_each_time(anonymous: CargoClient) -> None:
    response = anonymous.get(INDEX)
    assert response["Cache-Control"] == "no-cache"
    assert response["Content-Type"] == "text/plain; charset=utf-8"


def test_unknown_download_is_missing(anonymous: CargoClient) -> None:
    for path in ("/dl/demo/1.0.1/download", "/dl/nothing/1.0.0/download", "/dl/demo/%2e%2e/download"):
        response = anonymous.get(path)
        assert (response.status_code, set(response.json())) == (404, {"errors"})


READING = ["/index/config.json", INDEX, "/index/no/th/nothing", DOWNLOAD, "/api/v1/crates?q=demo"]


@override_settings(AUTH_REQUIRED=True)
def test_reading_can_require_a_token(anonymous: CargoClient) -> None:
    for path in READING:
        response = anonymous.get(path)
        assert (response.status_code, set(response.json())) == (401, {"errors"})
        assert response["WWW-Authenticate"] == 'Cargo login_url="http://testserver/me"'


@override_settings(AUTH_REQUIRED=True)
def test_any_account_may_read_then(as_charlie: CargoClient) -> None:
    for path in READING:
        response = as_charlie.get(path)
        assert response.status_code == (404 if "nothing" in path else 200)
        response.getvalue()


@override_settings(AUTH_REQUIRED=True)
def test_reading_needs_the_scope_to_read_then(alice: User) -> None:
    token = cargo_tokens.create(alice, "publisher", ("publish",))
    assert CargoClient(token=token).get(INDEX).status_code == 403


@override_settings(AUTH_REQUIRED=True)
def test_config_announces_that_a_token_is_required(as_charlie: CargoClient) -> None:
    assert as_charlie.get("/index/config.json").json()["auth-required"] is True


@override_settings(AUTH_REQUIRED=True)
def test_shared_caches_may_not_keep_private_files(as_alice: CargoClient) -> None:
    response = as_alice.get(DOWNLOAD)
    response.getvalue()
    assert response["Cache-Control"].startswith("private")
