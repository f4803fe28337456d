"""What a person pastes into `.cargo/config.toml` to use this registry."""

from django.conf import settings

REGISTRY_NAME = "entrepot"


def cargo_config() -> str:
    """Ready to paste. The credential provider is stated because cargo asks for it where reading needs a token."""
    return (
        f"[registries.{REGISTRY_NAME}]\n"
        f'index = "sparse+{settings.PUBLIC_URL}/index/"\n'
        "\n"
        "[registry]\n"
        'global-credential-providers = ["cargo:token"]\n'
    )


def mirror_config() -> str:
    """Ready to paste: crates.io by way of here; empty where there is no mirror."""
    if not settings.MIRROR:
        return ""
    return (
        "[source.crates-io]\n"
        f'replace-with = "{REGISTRY_NAME}-mirror"\n'
        "\n"
        f"[registries.{REGISTRY_NAME}-mirror]\n"
        f'index = "sparse+{settings.PUBLIC_URL}/mirror/index/"\n'
    )
