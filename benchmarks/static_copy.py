"""Copy of the registry's index and crates as a tree of files for nginx."""

import http.client
from collections.abc import Iterable, Sequence
from pathlib import Path

from benchmarks.publish_client import VERSION
from crates.names import index_path


def index_url(name: str) -> str:
    """Return the path of the index file of a crate."""
    return f"/index/{index_path(name)}"


def download_url(name: str) -> str:
    """Return the path of the `.crate` file of a crate."""
    return f"/dl/{name}/{VERSION}/download"


def copy_files(port: int, names: Iterable[str], site: Path) -> None:
    """Write the index file and the `.crate` file of each crate under `site`, by their paths."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    for name in names:
        for path in (index_url(name), download_url(name)):
            status, _, content = _get(connection, path)
            if status != 200:
                raise RuntimeError(f"{path} got {status}.")
            file = site / path.removeprefix("/")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
    connection.close()


def etags(port: int, paths: Sequence[str], token: str = "") -> list[str]:
    """Return the ETag of each path; raises `RuntimeError` if a server does not answer its own with 304."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    tags = []
    for path in paths:
        headers = {"Authorization": token} if token else {}
        _, etag, _ = _get(connection, path, headers)
        status, _, _ = _get(connection, path, {**headers, "If-None-Match": etag})
        if status != 304:
            raise RuntimeError(f"{path} got {status} to its own ETag.")
        tags.append(etag)
    connection.close()
    return tags


def _get(
    connection: http.client.HTTPConnection, path: str, headers: dict[str, str] | None = None
) -> tuple[int, str, bytes]:
    """Return status, ETag and body."""
    connection.request("GET", path, headers=headers or {})
    answer = connection.getresponse()
    return answer.status, answer.headers.get("ETag", ""), answer.read()
