"""Origins of URLs: equal ones are equal texts."""

import ipaddress

import pytest

from registry_site.origins import Hosts, origin_of, with_plain_origin

pytestmark = pytest.mark.database_independent

ORIGINS = {
    "https://repo.example": "https://repo.example",
    "https://repo.example:443/index/?q#top": "https://repo.example",
    "http://repo.example:80": "http://repo.example",
    "HTTPS://Repo.Example:0443/Index/": "https://repo.example",
    "https://repo.example:/": "https://repo.example",
    "http://repo.example:443/": "http://repo.example:443",
    "https://repo.example:80/": "https://repo.example:80",
    "sparse+https://repo.example:443/index/": "sparse+https://repo.example",
    "https://token@repo.example/": "https://repo.example",
    "http://[2001:DB8::1]:80/": "http://[2001:db8::1]",
}


def test_default_port_and_case_do_not_matter() -> None:
    assert {url: origin_of(url) for url in ORIGINS} == ORIGINS


NO_ORIGINS = "null repo.example https:// https:///path https://[::1 https://h:port https://h:99999"


def test_text_without_a_host_has_no_origin() -> None:
    for text in ("", *NO_ORIGINS.split()):
        with pytest.raises(ValueError, match=r"^[^\n]*$"):
            origin_of(text)
        assert with_plain_origin(text) == text


def test_path_and_query_stay_as_they_are() -> None:
    plain = with_plain_origin("sparse+HTTPS://Repo.Example:443/Index/?Q=a://b#Top")
    assert plain == "sparse+https://repo.example/Index/?Q=a://b#Top"


def test_hosts_are_names_or_in_networks() -> None:
    networks = [ipaddress.ip_network("10.1.0.0/16"), ipaddress.ip_network("fd00::/8")]
    hosts = Hosts(frozenset({"files.internal"}), networks)
    allowed = ("https://Files.Internal:9000/x", "http://10.1.2.3", "http://[fd00::1]:80/", "http://[fd00::1%25eth0]/")
    assert [url for url in allowed if not hosts.has(url)] == []
    others = ("https://internal", "https://x.files.internal", "http://10.2.0.1", "http://[fe80::1]", "http://10.1", "")
    assert [url for url in others if hosts.has(url)] == []
