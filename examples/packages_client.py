"""A client that publishes, finds, downloads and deletes a package: `python3 examples/packages_client.py URL NAME`.

It opens the accounts NAME and NAME-friend and the namespace NAME-tools on a running registry. Each later request is
signed with an app key, whose secret is never sent.
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

TIMEOUT_SECONDS = 60


class Refused(Exception):
    """The registry refuses a request; the message has its reason."""


class Registry:
    """A registry, with one app key."""

    def __init__(self, url: str, appid: str, secret: str) -> None:
        self.url = url
        self.appid = appid
        self.secret = secret
        self.opener = build_opener()

    @classmethod
    def sign_up(cls, url: str, username: str, password: str) -> "Registry":
        """Open an account, and log in with a cookie until there is an app key with all rights of the account."""
        browser = build_opener(HTTPCookieProcessor(CookieJar()))
        headers = {"Content-Type": "application/json"}

        def request(method: str, path: str, data: Mapping[str, str] | None = None) -> Any:
            return json.loads(send(browser, Request(url + path, encode_json(data), headers, method=method)))  # noqa: S310

        account = {"username": username, "password": password}
        request("POST", "/register", {**account, "email": f"{username}@example.org"})
        request("POST", "/login", account)
        key = request("POST", "/settings/appids", {"type": "ALL"})
        request("GET", "/logout")
        return cls(url, key["appid"], key["appsecret"])

    def sign(self, signed: bytes) -> str:
        """Return a token for one request within five minutes: it signs the body, or the SHA-256 of an upload."""
        parts = [str(int(time.time())).encode(), os.urandom(16), signed]
        unsigned = ":".join(base64.urlsafe_b64encode(part).decode() for part in parts)
        signature = hmac.digest(self.secret.encode(), unsigned.encode(), hashlib.sha256)
        return f"{self.appid}:{base64.urlsafe_b64encode(signature).decode()}:{unsigned}"

    def request(self, method: str, path: str, data: Any = None) -> Any:
        """Send JSON, or nothing, and return the JSON of the response; raise `Refused`."""
        body = encode_json(data)
        return json.loads(self._send(method, path, body, body, "application/json"))

    def upload(self, method: str, path: str, fields: Mapping[str, str], archive: bytes) -> Any:
        """Send a form with fields and an archive, and return the JSON of the response; raise `Refused`."""
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
        """Download an archive; raise `Refused`."""
        return self._send("GET", path, b"", b"", "application/octet-stream")

    def _send(self, method: str, path: str, body: bytes, signed: bytes, content_type: str) -> bytes:
        headers = {"Token": self.sign(signed), "Content-Type": content_type}
        return send(self.opener, Request(self.url + path, body or None, headers, method=method))  # noqa: S310


def send(opener: OpenerDirector, request: Request) -> bytes:
    """Send a request, and return the body of the response; raise `Refused` with the registry's message."""
    try:
        with opener.open(request, timeout=TIMEOUT_SECONDS) as response:
            body: bytes = response.read()
            return body
    except HTTPError as error:
        error_body = error.read()
        try:
            message = str(json.loads(error_body)["message"])
        except (ValueError, LookupError, TypeError):  # from a proxy, not from a registry
            message = error_body[:200].decode(errors="replace")
        raise Refused(f"{request.method} {request.selector}: {error.code} {message}") from error


def encode_json(data: Any) -> bytes:
    return b"" if data is None else json.dumps(data).encode()


def pack(files: Mapping[str, str]) -> bytes:
    """Return a `.tgz` with these texts, by their paths."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        for path, text in files.items():
            content = text.encode()
            entry = tarfile.TarInfo(path)
            entry.size, entry.mtime = len(content), int(time.time())
            tar.addfile(entry, io.BytesIO(content))
    return packed.getvalue()


def demonstrate(url: str, name: str) -> None:
    """Go through the life of one package, and print each step; raise `Refused` and `URLError`."""
    friend, namespace, package = f"{name}-friend", f"{name}-tools", "问候-greeting"
    owner = Registry.sign_up(url, name, secrets.token_urlsafe(24))
    member = Registry.sign_up(url, friend, secrets.token_urlsafe(24))
    print(f"Opened the accounts {name} and {friend}, with an app key each.")

    owner.request("POST", "/namespaces", {"namespace": namespace})
    owner.request("POST", f"/namespaces/{namespace}/members", [{"username": friend, "role": "MEMBER"}])
    print(f"Created the namespace {namespace} and made {friend} a member.")

    packages_path = f"/namespaces/{namespace}/packages"
    package_path = f"{packages_path}/{quote(package)}"
    digests: dict[str, str] = {}
    for publisher, version in ((owner, "1.0.0"), (member, "1.1.0"), (owner, "2.0.0")):
        archive = pack({"package/README.md": f"# Greeting {version}\n", "package/greet.txt": "你好\n"})
        # A form has no lists: keywords are sent as JSON.
        fields = {"version": version, "status": "RELEASE", "keywords": json.dumps(["greeting", "问候"])}
        if not digests:  # the first version creates the package
            new = {"package_name": package, "field": "text", "description": "A greeting in a file. 一句问候。"}
            publisher.upload("POST", packages_path, {**fields, **new}, archive)
        else:
            publisher.upload("PUT", package_path, fields, archive)
        digests[version] = hashlib.sha256(archive).hexdigest()
        print(f"Published {package} {version}, {len(archive)} bytes.")

    # With the namespace, because others on this registry may have a greeting, too.
    results = owner.request("GET", f"/packages?{urlencode({'query': f'问候 {namespace}'})}")
    print("Searched, and found:", ", ".join(f"{result['namespace']}/{result['package_name']}" for result in results))

    for release in member.request("GET", f"{package_path}/versions"):
        version = release["version"]
        archive = member.download(f"{package_path}/versions/{version}/download")
        if not hashlib.sha256(archive).hexdigest() == release["sha256"] == digests[version]:
            raise Refused(f"The archive of {version} is not the one that was published.")
        print(f"Downloaded {version} by {release['publisher']}: it is what was published.")

    deprecated = owner.request("PATCH", package_path, {"status": "DEPRECATED"})
    print(f"Marked {deprecated['version']} as {deprecated['status']}.")

    owner.request("DELETE", package_path)
    print(f"Deleted {package}.")

    for package, field, version in (("@greetings/hello", "npm", "1.0.0"), ("问候", "debian", "1:2.3-1")):
        archive = pack({"package/greet.txt": field})
        owner.upload("POST", packages_path, {"package_name": package, "field": field, "version": version}, archive)
        package_path = f"{packages_path}/{quote(package, safe='')}"  # npm's slash is encoded, too
        if owner.download(f"{package_path}/versions/{quote(version, safe='')}/download") != archive:
            raise Refused(f"The archive of {package} is not the one that was published.")
        owner.request("DELETE", package_path)
        print(f"Published, downloaded and deleted {package} {version}, a package of {field}.")


def main() -> None:
    """Run, and exit with 1 and the registry's message at the first refusal, with 2 for wrong arguments."""
    if len(sys.argv) != 3 or not sys.argv[1].startswith(("http://", "https://")):
        print(f"Usage: python3 {sys.argv[0]} http://127.0.0.1:8000 NAME", file=sys.stderr)
        sys.exit(2)
    url, name = sys.argv[1].rstrip("/"), sys.argv[2]
    try:
        demonstrate(url, name)
    except Refused as error:
        sys.exit(f"The registry refuses. {error}")
    except URLError as error:
        sys.exit(f"The registry at {url} cannot be reached: {error.reason}")


if __name__ == "__main__":
    main()
