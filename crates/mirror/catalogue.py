"""Mirrored crates as crates.io's API shows them, which takes no changes here."""

from typing import NoReturn

from django.conf import settings

from registry_site.cargo_config import REGISTRY_NAME
from registry_site.errors import PermissionDenied


def refuse_change() -> NoReturn:
    """Raise `PermissionDenied` for a publish, a yank, or any other change of a mirrored crate."""
    raise PermissionDenied(
        f"This is a mirror, which takes no crates and no changes. Use the registry itself, sparse+{settings.PUBLIC_URL}"
        f"/index/: `cargo publish --registry {REGISTRY_NAME}`."
    )
