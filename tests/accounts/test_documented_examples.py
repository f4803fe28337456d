"""The requests of the systems' own documents, through a shell with the real curl, against a live server.

The commands stand here as the documents have them; HOST and words like TOKEN are replaced before they are run. Where a
document gives no command but a method, a path and a body, they are written as a command of the same kind.
"""

import hashlib
import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.support.concurrency import wait_until
from tests.support.servers import PASSWORD, Server, running

pytestmark = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")


class Response(NamedTuple):
    status: int
    text: str

    @property
    def json(self) -> Any:
        return json.loads(self.text)


class Shell:
    """A shell in a directory of its own. There curl keeps its cookies, and prints the status, too."""

    def __init__(self, server: Server, directory: Path) -> None:
        self.server, self.directory = server, directory
        (directory / ".curlrc").write_text('write-out = "\\n%{http_code}"\nnoproxy = "*"\n')

    def __call__(self, command: str, **replaced: str) -> Response:
        for word, text in {"HOST": self.server.url, **replaced}.items():
            command = command.replace(word, text)
        environment = {"PATH": os.environ["PATH"], "CURL_HOME": str(self.directory)}
        done = subprocess.run(
            ["sh", "-c", command], cwd=self.directory, env=environment, capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0, done.stderr
        text, _, status = done.stdout.rpartition("\n")
        return Response(int(status), text)

    def link_to(self, address: str) -> str:
        """Return the token of the link in a mail. Without a mail server, mails are in the log."""
        mail = re.compile(rf"To: {re.escape(address)}\n.*?/email/verify/(\S+)", re.DOTALL)
        wait_until(lambda: mail.search(self.server.log.read_text()) is not None)
        return str(mail.findall(self.server.log.read_text())[0])


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    """A shell beside a server with the accounts of backup-repository's examples; `admin` is `riotkit` here.

    The registry makes an `admin` of its own at its start, and refuses a password that is the user's name.
    """
    directory = tmp_path_factory.mktemp("examples")
    with running(directory / "data", REGISTRY_EMAIL_VERIFICATION="1") as server:
        manager, others = ["--role", "collectionManager"], ["--role", "usersManager", "--role", "systemAdmin"]
        options = ["--password-stdin", "--email"]
        server.manage("createuser", "riotkit", *options, "riotkit@riseup.net", *manager, *others, text=f"{PASSWORD}\n")
        server.manage("createuser", "some-user", *options, "user@riseup.net", *manager, text=f"{PASSWORD}\n")
        yield Shell(server, directory)


def shape_of(value: Any) -> Any:
    """Return the keys, with the type of each value; a list is reduced to its first item."""
    if isinstance(value, dict):
        return {key: shape_of(item) for key, item in value.items()}
    return [shape_of(item) for item in value[:1]] if isinstance(value, list) else type(value).__name__


def documented_shape(example: str) -> Any:
    return shape_of(json.loads(example))


# --- Ktra --------------------------------------------------------------------------------------------------------

KTRA_TOKEN = '{ "token": "TOKEN" }'


def test_ktra_creates_a_user(shell: Shell) -> None:
    response = shell("""curl -X POST -H 'Content-Type: application/json' -d '{ "password": "PASSWORD" }' \
        HOST/ktra/api/v1/new_user/user_name""")
    assert response.status == 200
    assert shape_of(response.json) == documented_shape(KTRA_TOKEN)


def test_ktra_logs_in(shell: Shell) -> None:
    first = shell.server.sign_up("ktra_login")
    response = shell(
        """curl -X POST -H 'Content-Type: application/json' -d '{ "password": "PASSWORD" }' \
        HOST/ktra/api/v1/login/ktra_login""",
        PASSWORD=PASSWORD,
    )
    assert response.status == 200
    assert shape_of(response.json) == documented_shape(KTRA_TOKEN)
    assert response.json["token"] != first


def test_ktra_changes_a_password(shell: Shell) -> None:
    shell.server.sign_up("ktra_change")
    response = shell(
        """curl -X POST -H 'Content-Type: application/json' \
        -d '{ "old_password": "OLD PASSWORD", "new_password": "NEW PASSWORD" }' \
        HOST/ktra/api/v1/change_password/ktra_change""",
        **{"OLD PASSWORD": PASSWORD},
    )
    assert response.status == 200
    assert shape_of(response.json) == documented_shape(KTRA_TOKEN)


def test_ktra_me_prints_a_command_that_works(shell: Shell) -> None:
    shell.server.sign_up("ktra_me")
    hint = shell("curl HOST/me")
    assert hint.status == 200
    response = shell(hint.text.strip().removeprefix("$ "), **{"YOUR PASSWORD": PASSWORD, "<YOUR USERNAME>": "ktra_me"})
    assert response.status == 200
    assert shape_of(response.json) == documented_shape(KTRA_TOKEN)


# --- backup-repository -------------------------------------------------------------------------------------------

BACKUPS_LOGIN = """
curl -s -X POST -d '{"username":"USER","password":"PASSWORD"}' -H 'Content-Type: application/json' 'HOST/api/stable/auth/login'
"""  # noqa: E501


@pytest.fixture
def backups_token(shell: Shell) -> str:
    return str(shell(BACKUPS_LOGIN, USER="riotkit", PASSWORD=PASSWORD).json["data"]["token"])


def session_id(token: str) -> str:
    """Return the SHA-256 of the token, as in the documents' own examples."""
    return hashlib.sha256(token.encode()).hexdigest()


def test_backups_logs_in(shell: Shell) -> None:
    response = shell(BACKUPS_LOGIN, USER="riotkit", PASSWORD=PASSWORD)
    assert response.status == 200
    assert shape_of(response.json) == documented_shape("""
{
    "data": {
        "expire": "2032-02-25T00:32:56+01:00",
        "sessionId": "2d0aa5db61c02ea9a9d7fe6d768021aca98fff1fe75fe214a65ccd6926bb8b77",
        "token": "TOKEN"
    },
    "status": true
}
""")
    assert response.json["data"]["sessionId"] == session_id(response.json["data"]["token"])
    assert datetime.fromisoformat(response.json["data"]["expire"]).tzinfo


def test_backups_shows_a_user(shell: Shell, backups_token: str) -> None:
    command = r"""
curl -s -X GET -H 'Authorization: Bearer TOKEN' \
     -H 'Content-Type: application/json' \
     'HOST/api/stable/auth/user/some-user'
"""
    response = shell(command, TOKEN=backups_token)
    assert response.status == 200
    assert response.json == json.loads("""
{
    "data": {
        "email": "user@riseup.net",
        "permissions": [
            "collectionManager"
        ]
    },
    "status": true
}
""")


def test_backups_shows_the_own_user(shell: Shell, backups_token: str) -> None:
    command = r"""
curl -s -X GET -H 'Authorization: Bearer TOKEN' \
     -H 'Content-Type: application/json' \
     'HOST/api/stable/auth/whoami'
"""
    response = shell(command, TOKEN=backups_token)
    assert response.status == 200
    example = """
{
    "data": {
        "email": "riotkit@riseup.net",
        "grantedAccess": {
            "CreatedAt": "2022-02-26T20:23:15.272127+01:00",
            "UpdatedAt": "2022-02-26T20:23:15.272127+01:00",
            "DeletedAt": null,
            "id": "4e1a57bebab9a87faa413934015d9e2ae83cff39cce3b55b02a55e68392964b3",
            "expiresAt": "2032-02-24T20:23:15.271405+01:00",
            "deactivated": false,
            "description": "Login",
            "requesterIP": "::1",
            "user": "admin"
        },
        "permissions": [
            "collectionManager",
            "usersManager",
            "systemAdmin"
        ],
        "sessionId": "4e1a57bebab9a87faa413934015d9e2ae83cff39cce3b55b02a55e68392964b3"
    },
    "status": true
}
"""
    assert shape_of(response.json) == documented_shape(example)
    for key in ("email", "permissions"):
        assert response.json["data"][key] == json.loads(example)["data"][key]
    assert (
        response.json["data"]["grantedAccess"]["id"] == response.json["data"]["sessionId"] == session_id(backups_token)
    )


@pytest.mark.parametrize("method", ["DELETE", "GET"])  # the document's example, and its heading
def test_backups_logs_out(shell: Shell, backups_token: str, method: str) -> None:
    command = r"""
curl -s -X DELETE -H 'Authorization: Bearer TOKEN' \
     -H 'Content-Type: application/json' \
     'HOST/api/stable/auth/logout'
"""
    response = shell(command, TOKEN=backups_token, DELETE=method)
    assert response.status == 200
    assert response.json == {
        "data": {"message": "JWT was revoked", "sessionId": session_id(backups_token)},
        "status": True,
    }
    assert shell(command, TOKEN=backups_token).status == 403


def test_backups_lists_sessions(shell: Shell, backups_token: str) -> None:
    # In the document a blank follows the first backslash, so that its command ends there.
    command = r"""
curl -s -X GET -H 'Authorization: Bearer TOKEN' \
     -H 'Content-Type: application/json' \
     'HOST/api/stable/auth/token'
"""
    response = shell(command, TOKEN=backups_token)
    assert response.status == 200
    assert shape_of(response.json) == documented_shape("""
{
    "data": {
        "grantedAccesses": [
            {
                "CreatedAt": "2022-02-27T00:45:47.256269+01:00",
                "UpdatedAt": "2022-02-27T00:45:47.256269+01:00",
                "DeletedAt": null,
                "id": "8c313de003f20bd34f78c6fd26c3f5943e6339b744e111569d9ed1d121796839",
                "expiresAt": "2032-02-25T00:45:47.255996+01:00",
                "deactivated": false,
                "description": "Login",
                "requesterIP": "1.2.3.4",
                "user": "admin"
            }
        ]
    },
    "status": true
}
""")
    assert response.json["data"]["grantedAccesses"][0]["id"] == session_id(backups_token)


# --- torrust -----------------------------------------------------------------------------------------------------

TORRUST_REGISTER = r"""
curl \
  --header "Content-Type: application/json" \
  --request POST \
  --data '{"username":"indexadmin","email":"indexadmin@torrust.com","password":"BenoitMandelbrot1924","confirm_password":"BenoitMandelbrot1924"}' \
  HOST/v1/user/register
"""  # noqa: E501
TORRUST_LOGIN = r"""
curl \
  --header "Content-Type: application/json" \
  --request POST \
  --data '{"login":"indexadmin","password":"BenoitMandelbrot1924"}' \
  HOST/v1/user/login
"""
TORRUST_USER = """
{
"data": {
"token": "TOKEN",
"username": "indexadmin",
"admin": true
}
}
"""


class Indexadmin(NamedTuple):
    registered: Response
    verified: Response
    logged_in: Response

    @property
    def token(self) -> str:
        return str(self.logged_in.json["data"]["token"])


@pytest.fixture(scope="module")
def indexadmin(shell: Shell) -> Indexadmin:
    """The answers to torrust's first three requests."""
    registered = shell(TORRUST_REGISTER)
    link = shell.link_to("indexadmin@torrust.com")
    verified = shell("curl HOST/v1/user/email/verify/TOKEN", TOKEN=link)
    return Indexadmin(registered, verified, shell(TORRUST_LOGIN))


def test_torrust_registers_a_user(indexadmin: Indexadmin) -> None:
    assert indexadmin.registered.status == 200
    assert shape_of(indexadmin.registered.json) == {"data": {"user_id": "int"}}


def test_torrust_verifies_an_address(indexadmin: Indexadmin) -> None:
    assert indexadmin.verified == (200, "Email verified, you can close this page.")


def test_torrust_logs_in(indexadmin: Indexadmin) -> None:
    assert indexadmin.logged_in.status == 200
    assert shape_of(indexadmin.logged_in.json) == documented_shape(TORRUST_USER)
    assert indexadmin.logged_in.json["data"]["username"] == "indexadmin"


TORRUST_VERIFICATION = r"""
curl \
  --header "Content-Type: application/json" \
  --request POST \
  --data '{"token":"TOKEN"}' \
  HOST/v1/user/token/verify
"""


def test_torrust_verifies_a_token(shell: Shell, indexadmin: Indexadmin) -> None:
    response = shell(TORRUST_VERIFICATION, TOKEN=indexadmin.token)
    assert (response.status, response.json) == (200, {"data": "Token is valid."})


def test_torrust_refuses_an_invalid_token(shell: Shell) -> None:
    response = shell(TORRUST_VERIFICATION)
    assert response.status == 401
    assert response.json == {"data": "Token invalid.", "error": "Token invalid."}  # `error` as the original has it


def test_torrust_renews_a_token(shell: Shell, indexadmin: Indexadmin) -> None:
    command = r"""
curl \
  --header "Content-Type: application/json" \
  --request POST \
  --data '{"token":"TOKEN"}' \
  HOST/v1/user/token/renew
"""
    response = shell(command, TOKEN=indexadmin.token)
    assert response.status == 200
    assert response.json == {"data": {"token": indexadmin.token, "username": "indexadmin", "admin": False}}


def test_torrust_bans_a_user(shell: Shell) -> None:
    shell.server.sign_up("to_be_banned")
    token = shell(TORRUST_LOGIN, indexadmin="riotkit", BenoitMandelbrot1924=PASSWORD).json["data"]["token"]
    command = r"""
curl \
  --header "Content-Type: application/json" \
  --header "Authorization: Bearer TOKEN" \
  --request DELETE \
  HOST/v1/user/ban/indexadmin
"""
    response = shell(command, TOKEN=token, indexadmin="to_be_banned")
    assert (response.status, response.json) == (200, {"data": "Banned user: to_be_banned"})


# --- yapkg -------------------------------------------------------------------------------------------------------

YAPKG_USER = """
{
    "user_id": "user_id",
    "username": "username",
    "email": "example@example.com",
    "avatar_uri": "avatar_uri"
}
"""
BOTH_SPELLINGS = {"user_id": "str", "userid": "str"}  # the document has the one here and the other there
YAPKG_LOGIN = """
curl -X POST -c jar -H 'Content-Type: application/json' -d '{
    "username": "username",
    "password": "password"
}' HOST/login
"""


class Member(NamedTuple):
    registered: Response
    logged_in: Response

    @property
    def user_id(self) -> str:
        return str(self.logged_in.json["user_id"])


@pytest.fixture(scope="module")
def member(shell: Shell) -> Member:
    """The answers to yapkg's first two requests. The cookie is in the file `jar`."""
    registered = shell("""
curl -X POST -H 'Content-Type: application/json' -d '{
    "username": "username",
    "password": "password",
    "email": "example@example.com"
}' HOST/register
""")
    shell("curl HOST/v1/user/email/verify/TOKEN", TOKEN=shell.link_to("example@example.com"))
    return Member(registered, shell(YAPKG_LOGIN))


def test_yapkg_registers_a_user(member: Member) -> None:
    example = '{"userid": "userid", "username": "username", "email": "example@example.com", "avatar_uri": "avatar_uri"}'
    assert member.registered.status == 200
    assert shape_of(member.registered.json) == documented_shape(example) | BOTH_SPELLINGS


def test_yapkg_logs_in(member: Member) -> None:
    assert member.logged_in.status == 200
    assert shape_of(member.logged_in.json) == documented_shape(YAPKG_USER) | BOTH_SPELLINGS


def test_yapkg_shows_a_user(shell: Shell, member: Member) -> None:
    response = shell("curl -b jar HOST/users/username")
    assert response.status == 200
    assert shape_of(response.json) == documented_shape(YAPKG_USER) | BOTH_SPELLINGS
    assert response.json["email"] == "example@example.com"


def test_yapkg_changes_a_profile(shell: Shell, member: Member) -> None:
    command = """
curl -X PATCH -b jar -c jar -H 'Origin: HOST' -H 'Content-Type: application/json' -d '{
    "user_id": "USER_ID",
    "username": "username",
    "password": "password",
    "email": "example@example.com",
    "avatar_uri": "https://example.com/avatar.png"
}' HOST/settings/profile
"""
    response = shell(command, USER_ID=member.user_id)
    assert response.status == 200
    assert shape_of(response.json) == documented_shape(YAPKG_USER) | BOTH_SPELLINGS
    assert response.json["avatar_uri"] == "https://example.com/avatar.png"


YAPKG_KEY = """
curl -X POST -b jar -H 'Content-Type: application/json' -d '{
    "type": "READ_ONLY"
}' HOST/settings/appids
"""


def test_yapkg_lists_keys(shell: Shell, member: Member) -> None:
    created = shell(YAPKG_KEY)
    assert created.status == 200
    response = shell("curl -b jar HOST/settings/appids")
    assert response.status == 200
    assert shape_of(response.json) == documented_shape("""
[
    {
        "appid": "appid",
        "appsecret": "appsecret",
        "type": "READ_ONLY"
    }
]
""")
    assert created.json in response.json


def test_yapkg_deletes_a_key(shell: Shell, member: Member) -> None:
    appid = shell(YAPKG_KEY).json["appid"]
    response = shell("curl -X DELETE -b jar HOST/settings/appids/APPID", APPID=appid)
    assert (response.status, response.json) == (200, {"status": "ok"})
    assert appid not in shell("curl -b jar HOST/settings/appids").text


@pytest.mark.parametrize("options", ["-b other", "-X POST -b other"])
def test_yapkg_logs_out(shell: Shell, member: Member, options: str) -> None:
    shell(YAPKG_LOGIN, jar="other")
    assert shell("curl -b other HOST/settings/appids").status == 200
    response = shell(f"curl {options} HOST/logout")
    assert (response.status, response.json) == (200, {"status": "ok"})
    assert shell("curl -b other HOST/settings/appids").status == 401
