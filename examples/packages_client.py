"""The whole life of a package, by a client of a few lines: `python3 examples/packages_client.py URL NAME`.

It opens the accounts NAME and NAME-friend and the namespace NAME-tools on a running registry. What is made there is
made by requests that are signed with an app key: the key's secret, of which its owner alone has a copy, is never sent.
"""

import base64
import hashlib
import hmac
import io
import json
import os
import secrets
import sys
import tarfile
import time
from collections.abc import Mapping
from http.cookiejar import CookieJar
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import quote, urlencode
from urllib.request import HTTPCookieProcessor, OpenerDirector, Request, build_opener

PATIENCE = 60  # seconds


class Refused(Exception):
    """The registry said no, and why."""


class Registry:
    """A registry, as the holder of one app key sees it."""

    def __init__(self, url: str, appid: str, secret: str) -> None:
        self.url = url
        self.appid = appid
        self.secret = secret
        self.opener = build_opener()

    @classmethod
    def joined(cls, url: str, username: str, password: str) -> "Registry":
        """Open an account, and log in as a browser does, just long enough to get an app key for all it may do."""
        browser = build_opener(HTTPCookieProcessor(CookieJar()))
        json_of_ours = {"Content-Type": "application/json", "Origin": url}  # a cookie alone changes nothing

        def ask(method: str, path: str, data: Mapping[str, str] | None = None) -> Any:
            return json.loads(send(browser, Request(url + path, _json(data), json_of_ours, method=method)))  # noqa: S310

        account = {"username": username, "password": password}
        ask("POST", "/register", {**account, "email": f"{username}@example.org"})
        ask("POST", "/login", account)
        key = ask("POST", "/settings/appids", {"type": "ALL"})
        ask("GET", "/logout")
        return cls(url, key["appid"], key["appsecret"])

    def sign(self, signed: bytes) -> str:
        """A token, good for one request within five minutes, over its body or over the SHA-256 of an upload's."""
        parts = [str(int(time.time())).encode(), os.urandom(16), signed]
        unsigned = ":".join(base64.urlsafe_b64encode(part).decode() for part in parts)
        signature = hmac.digest(self.secret.encode(), unsigned.encode(), hashlib.sha256)
        return f"{self.appid}:{base64.urlsafe_b64encode(signature).decode()}:{unsigned}"

    def request(self, method: str, path: str, data: Any = None) -> Any:
        """Send JSON, or nothing, and read JSON; raises `Refused`."""
        body = _json(data)
        return json.loads(self._send(method, path, body, body, "application/json"))

    def upload(self, method: str, path: str, fields: Mapping[str, str], archive: bytes) -> Any:
        """Send fields and an archive as a form, and read JSON; raises `Refused`. A list in a field is its JSON."""
        boundary = secrets.token_hex(16)
        body = b"".join(
            f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
            for name, value in fields.items()
        )
        body += f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="package.tgz"\r\n'.encode()
        body += b"Content-Type: application/gzip\r\n\r\n" + archive + f"\r\n--{boundary}--\r\n".encode()
        digest = hashlib.sha256(body).digest()
        return json.loads(self._send(method, path, body, digest, f"multipart/form-data; boundary={boundary}"))

    def download(self, path: str) -> bytes:
        """The bytes of an archive; raises `Refused`."""
        return self._send("GET", path, b"", b"", "application/octet-stream")

    def _send(self, method: str, path: str, body: bytes, signed: bytes, content_type: str) -> bytes:
        headers = {"Token": self.sign(signed), "Content-Type": content_type}
        return send(self.opener, Request(self.url + path, body or None, headers, method=method))  # noqa: S310


def send(opener: OpenerDirector, request: Request) -> bytes:
    """The body of the answer; raises `Refused` with the registry's own words."""
    try:
        with opener.open(request, timeout=PATIENCE) as answer:
            body: bytes = answer.read()
            return body
    except HTTPError as error:
        raise Refused(f"{request.method} {request.selector}: {error.code} {_message(error.read())}") from error


def _message(body: bytes) -> str:
    try:
        return str(json.loads(body)["message"])
    except (ValueError, LookupError, TypeError):
        return body[:200].decode(errors="replace")  # of something between, which is no registry


def _json(data: Any) -> bytes:
    return b"" if data is None else json.dumps(data).encode()


def archive_of(files: Mapping[str, str]) -> bytes:
    """A `.tgz` of these texts by their paths."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        for path, text in files.items():
            content = text.encode()
            entry = tarfile.TarInfo(path)
            entry.size, entry.mtime = len(content), int(time.time())
            tar.addfile(entry, io.BytesIO(content))
    return packed.getvalue()


def live(url: str, name: str) -> None:
    """The life of one package, told step by step; raises `Refused` and `URLError`."""
    friend, namespace, package = f"{name}-friend", f"{name}-tools", "问候-greeting"
    ours = Registry.joined(url, name, secrets.token_urlsafe(24))
    theirs = Registry.joined(url, friend, secrets.token_urlsafe(24))
    print(f"Opened the accounts {name} and {friend}, with an app key each.")

    ours.request("POST", "/namespaces", {"namespace": namespace})
    ours.request("POST", f"/namespaces/{namespace}/members", [{"username": friend, "role": "MEMBER"}])
    print(f"Created the namespace {namespace} and made {friend} a member.")

    packages = f"/namespaces/{namespace}/packages"
    path = f"{packages}/{quote(package)}"
    sums: dict[str, str] = {}
    for publisher, version in ((ours, "1.0.0"), (theirs, "1.1.0"), (ours, "2.0.0")):
        archive = archive_of({"package/README.md": f"# Greeting {version}\n", "package/greet.txt": "你好\n"})
        fields = {"version": version, "status": "RELEASE", "keywords": json.dumps(["greeting", "问候"])}
        if not sums:  # the first one makes the package
            new = {"package_name": package, "field": "text", "description": "A greeting in a file. 一句问候。"}
            publisher.upload("POST", packages, {**fields, **new}, archive)
        else:
            publisher.upload("PUT", path, fields, archive)
        sums[version] = hashlib.sha256(archive).hexdigest()
        print(f"Published {package} {version}, {len(archive)} bytes.")

    # Others on this registry may have a greeting, too: the name of the namespace is searched as well.
    found = ours.request("GET", f"/packages?{urlencode({'query': f'问候 {namespace}'})}")
    print("Searched, and found:", ", ".join(f"{each['namespace']}/{each['package_name']}" for each in found))

    for listed in theirs.request("GET", f"{path}/versions"):
        version = listed["version"]
        archive = theirs.download(f"{path}/versions/{version}/download")
        if not hashlib.sha256(archive).hexdigest() == listed["sha256"] == sums[version]:
            raise Refused(f"The archive of {version} is not the one that was published.")
        print(f"Downloaded {version} by {listed['publisher']}: it is what was published.")

    deprecated = ours.request("PATCH", path, {"status": "DEPRECATED"})
    print(f"Marked {deprecated['version']} as {deprecated['status']}.")

    ours.request("DELETE", path)
    print(f"Deleted {package}.")


def main() -> None:
    """Leaves with status 1 and the registry's message at the first refusal, with 2 when it is called wrongly."""
    if len(sys.argv) != 3 or not sys.argv[1].startswith(("http://", "https://")):
        print(f"Usage: python3 {sys.argv[0]} http://127.0.0.1:8000 NAME", file=sys.stderr)
        sys.exit(2)
    url, name = sys.argv[1].rstrip("/"), sys.argv[2]
    try:
        live(url, name)
    except Refused as error:
        sys.exit(f"The registry refuses. {error}")
    except URLError as error:
        sys.exit(f"The registry at {url} cannot be reached: {error.reason}")


if __name__ == "__main__":
    main()
