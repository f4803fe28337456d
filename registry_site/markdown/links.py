"""Links of a README: relative ones lead into its repository, those to its own anchors stay on the page."""

import re
from typing import NamedTuple
from urllib.parse import urlsplit

ANCHOR_PREFIX = "user-content-"

# The folders of a repository's pages and of its raw files, on the sites whose URLs are known.
PAGES_AND_RAW_FILES = {
    "github.com": ("blob/HEAD", "raw/HEAD"),
    "gitlab.com": ("blob/HEAD", "raw/HEAD"),
    "bitbucket.org": ("src/HEAD", "raw/HEAD"),
    "codeberg.org": ("src/branch/HEAD", "raw/branch/HEAD"),
}

COMMITS = {"github.com": "commit", "gitlab.com": "-/commit", "bitbucket.org": "commits", "codeberg.org": "commit"}

RAW_SUFFIXES = ("apng", "avif", "bmp", "gif", "ico", "jpeg", "jpg", "mp4", "ogg", "png", "svg", "webm", "webp")


class SourceTree(NamedTuple):
    """The files of a repository, as its site shows them, and the README's folder in there."""

    pages: str
    raw_files: str
    folder: str


def source_tree(repository: str, path: str) -> SourceTree | None:
    """Return the tree that holds the README at `path`; None for a site whose URLs are unknown."""
    host, root = repository_root(repository)
    if not host:
        return None
    pages, raw_files = PAGES_AND_RAW_FILES[host]
    return SourceTree(f"{root}/{pages}", f"{root}/{raw_files}", path.rpartition("/")[0])


def commit_page(repository: str, commit: str) -> str:
    """Return the URL of a commit; empty for a site whose URLs are unknown."""
    host, root = repository_root(repository)
    return f"{root}/{COMMITS[host]}/{commit}" if host and commit else ""


def repository_root(repository: str) -> tuple[str, str]:
    """Return the site of a repository and the URL of its page; empty texts for a site whose URLs are unknown."""
    try:
        url = urlsplit(repository)
    except ValueError:
        return "", ""
    host = (url.hostname or "").removeprefix("www.")
    if url.scheme not in {"http", "https"} or host not in PAGES_AND_RAW_FILES:
        return "", ""
    names = url.path.split("/-/")[0].strip("/").split("/")
    if host != "gitlab.com":  # which has groups in groups
        names = names[:2]
    names[-1] = names[-1].removesuffix(".git")
    if len(names) < 2 or not all(re.fullmatch(r"[\w.~-]+", name, re.ASCII) for name in names):
        return "", ""
    return host, f"https://{host}/{'/'.join(names)}"


def resolve(url: str, tree: SourceTree | None) -> str | None:
    """Return where a relative URL of a README leads; None if nowhere."""
    if url.startswith("#"):
        return f"#{ANCHOR_PREFIX}{url[1:].removeprefix(ANCHOR_PREFIX)}" if url != "#" else url
    if re.match(r"//[\w-]", url):
        return f"https:{url}"
    # `::name` is an item of Rust, which rustdoc would resolve.
    if tree is None or not url or url.startswith("::"):
        return None
    path, rest = re.split(r"(?=[?#])", f"{url}#", maxsplit=1)
    rest = rest.removesuffix("#")
    folder = "" if path.startswith("/") else tree.folder
    is_raw = path.lower().endswith(tuple(f".{suffix}" for suffix in RAW_SUFFIXES))
    if path.lower().endswith(".svg"):  # GitHub serves it as an image only if it is cleaned
        rest = f"?sanitize=true{'&' + rest[1:] if rest.startswith('?') else rest}"
    return f"{tree.raw_files if is_raw else tree.pages}/{without_dots(f'{folder}/{path}')}{rest}"


def resolve_images(srcset: str, tree: SourceTree | None) -> str:
    """Return the candidates of a `srcset` with their URLs resolved, without those that lead nowhere."""
    candidates = []
    for candidate in srcset.split(","):
        url, _, size = candidate.strip().partition(" ")
        is_absolute = re.match(r"https://", url, re.IGNORECASE)
        if target := url if is_absolute else resolve(url, tree) if ":" not in url else None:
            candidates.append(f"{target} {size}".strip())
    return ", ".join(candidates)


def without_dots(path: str) -> str:
    """Return a path without `.` and `..`, which stops at the root of the repository."""
    names: list[str] = []
    for name in path.split("/"):
        if name == "..":
            del names[-1:]
        elif name not in {"", "."}:
            names.append(name)
    return "/".join(names) + ("/" if path.endswith("/") and names else "")
