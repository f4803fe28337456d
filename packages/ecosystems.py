"""Ecosystems, as the `field` of a package names them: which of them follow SemVer, and which have scopes in names."""

SCOPED = frozenset({"javascript", "js", "jsr", "node", "node.js", "nodejs", "npm", "typescript"})
SEMANTIC = SCOPED | {"cargo", "crates.io", "dart", "elixir", "helm", "hex", "pub", "rust", "swift", "terraform"}


def has_scopes(ecosystem: str) -> bool:
    """Return whether names such as `@scope/name` are usual."""
    return fold(ecosystem) in SCOPED


def follows_semver(ecosystem: str) -> bool:
    """Return whether versions have to follow SemVer. In all other ecosystems they are any texts."""
    return fold(ecosystem) in SEMANTIC


def fold(ecosystem: str) -> str:
    return ecosystem.strip().casefold()
