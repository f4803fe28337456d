"""Refusals of yapkg's endpoints, and roles in namespaces and packages."""

from typing import Any

from namespaces.models import Membership, Namespace
from packages.models import Collaboration, Package

NAMES_WITHOUT_ROLE = ("bob", "nobody", "%2e%2e", "%ff", "a" * 300, "%E4%B8%AD")
BAD_ROLES = (None, "", "member", "BOSS", 7, True, ["MEMBER"], {"role": "MEMBER"})


def assert_refused(response: Any, status: int, code: str, message: str) -> None:
    assert (response.status_code, response.json()) == (status, {"error": code, "message": message})


def members_of(namespace: Namespace) -> dict[str, str]:
    """Return the roles in a namespace by user name."""
    return {row.user.username: row.role for row in Membership.in_subject(namespace)}


def collaborators_of(package: Package) -> dict[str, str]:
    """Return the roles in a package by user name."""
    return {row.user.username: row.role for row in Collaboration.in_subject(package)}
