"""Configuration for users to paste into `.cargo/config.toml`."""

from django.conf import settings

REGISTRY_NAME = "entrepot"


def cargo_config() -> str:
    """Return the configuration of this registry.

    It names the credential provider, which cargo demands where reading needs a token.
    """
    return (
        f"[registries.{REGISTRY_NAME}]\n"
        f'index = "sparse+{settings.PUBLIC_URL}/index/"\n'
        "\n"
        "[registry]\n"
        'global-credential-providers = ["cargo:token"]\n'
    )


def token_variable() -> str:
    """Return the environment variable from which cargo takes a token of this registry, as on a build server."""
    return f"CARGO_REGISTRIES_{REGISTRY_NAME.upper()}_TOKEN"


def mirror_config() -> str:
    """Return the configuration that replaces crates.io by the mirror; empty without a mirror."""
    if not settings.MIRROR:
        return ""
    return (
        "[source.crates-io]\n"
        f'replace-with = "{REGISTRY_NAME}-mirror"\n'
        "\n"
        f"[registries.{REGISTRY_NAME}-mirror]\n"
        f'index = "sparse+{settings.PUBLIC_URL}/mirror/index/"\n'
    )
