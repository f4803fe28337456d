"""Shapes of crates.io's read API, from the field tables of its documentation, and what an answer lacks of them.

They are written without a look at our serializers, and hold for each server of this API: see `base` and `offenders`.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import date, datetime
from typing import Any

# A shape is the name of a type, with `?` if it may be null; or a list of one shape; or a table of fields, whose names
# end with `?` if they may be missing. `MapOf` is a table with any names, and `Nullable` one that may be null.
TYPES: dict[str, Callable[[Any], bool]] = {
    "str": lambda value: isinstance(value, str),
    "int": lambda value: isinstance(value, int) and not isinstance(value, bool) and value >= 0,
    "bool": lambda value: isinstance(value, bool),
    "time": lambda value: isinstance(value, str) and value.endswith("Z") and bool(datetime.fromisoformat(value)),
    "date": lambda value: isinstance(value, str) and len(value) == 10 and bool(date.fromisoformat(value)),
    "url": lambda value: isinstance(value, str) and bool(re.match(r"https?://", value)),
    "sha256": lambda value: isinstance(value, str) and bool(re.fullmatch("[0-9a-f]{64}", value)),
    "nothing": lambda value: value is None,
    "page": lambda value: isinstance(value, str) and value.startswith("?"),
    "owner kind": lambda value: value in ("user", "team"),
    "dependency kind": lambda value: value in ("normal", "build", "dev"),
    "action": lambda value: value in ("publish", "yank", "unyank"),
}


class MapOf:
    """A table whose names are data."""

    def __init__(self, shape: Any) -> None:
        self.shape = shape


class Nullable:
    """A table or a list that may be null."""

    def __init__(self, shape: Any) -> None:
        self.shape = shape


class Path:
    """A path of the API, beneath the base of the server; `{…}` are fields of the object around it."""

    def __init__(self, template: str) -> None:
        self.template = template

    def __str__(self) -> str:
        return self.template

    def beneath(self, base: str, fields: Mapping[str, Any]) -> str:
        return base + self.template.format(**fields)


USER = {"id": "int", "login": "str", "url": "url", "name": "str?", "avatar": "url?"}
OWNER = {**USER, "url": "url?", "kind": "owner kind"}
CRATE = {
    "id": "str",
    "name": "str",
    "updated_at": "time",
    "created_at": "time",
    "versions": Nullable(["int"]),
    "keywords": Nullable(["str"]),
    "categories": Nullable(["str"]),
    "badges": ["nothing"],
    "downloads": "int",
    "recent_downloads": "int?",
    "default_version": "str?",
    "num_versions": "int",
    "yanked": "bool",
    "max_version": "str",
    "newest_version": "str",
    "max_stable_version": "str?",
    "description": "str?",
    "homepage": "str?",
    "documentation": "str?",
    "repository": "str?",
    "links": {
        "version_downloads": "str",
        "versions": "str?",
        "owners": "str",
        "owner_team": "str",
        "owner_user": "str",
        "reverse_dependencies": "str",
    },
    "exact_match": "bool",
    "trustpub_only": "bool",
}
LISTED_CRATE = {**CRATE, "versions": "nothing", "keywords": "nothing", "categories": "nothing"}
LINES = {"code_lines": "int", "comment_lines": "int", "files": "int"}
VERSION = {
    "id": "int",
    "crate": "str",
    "num": "str",
    "dl_path": Path("/crates/{crate}/{num}/download"),
    "readme_path": Path("/crates/{crate}/{num}/readme"),
    "updated_at": "time",
    "created_at": "time",
    "downloads": "int",
    "features": MapOf(["str"]),
    "yanked": "bool",
    "yank_message": "str?",
    "lib_links": "str?",
    "license": "str?",
    "links": {"dependencies": "str", "version_downloads": "str", "authors": "str"},
    "crate_size": "int?",  # a mirror does not know it before it has the file
    "published_by": Nullable(USER),
    "audit_actions": [{"action": "action", "user": USER, "time": "time"}],
    "checksum": "sha256",
    "rust_version": "str?",
    "has_lib": "bool?",
    "bin_names": Nullable(["str"]),
    "edition": "str?",
    "description": "str?",
    "homepage": "str?",
    "documentation": "str?",
    "repository": "str?",
    "trustpub_data": "nothing",
    "linecounts": Nullable(
        {"languages": MapOf(LINES), "total_code_lines": "int", "total_comment_lines": "int"},
    ),
}
DEPENDENCY = {
    "id": "int",
    "version_id": "int",
    "crate_id": "str",
    "req": "str",
    "optional": "bool",
    "default_features": "bool",
    "features": ["str"],
    "target": "str?",
    "kind": "dependency kind",
    "downloads": "int",
}
KEYWORD = {"id": "str", "keyword": "str", "created_at": "time", "crates_cnt": "int"}
CATEGORY = {
    "id": "str",
    "slug": "str",
    "category": "str",
    "description": "str",
    "created_at": "time",
    "crates_cnt": "int",
}
SLUG = {"id": "str", "slug": "str", "description": "str"}
DAY = {"date": "date", "downloads": "int"}
VERSION_DAY = {**DAY, "version": "int"}
TOTAL = {"total": "int"}

CRATES = {"crates": [LISTED_CRATE], "meta": {**TOTAL, "next_page": "page?", "prev_page": "page?"}}
FULL_CRATE = {"crate": CRATE, "versions": [VERSION], "keywords": [KEYWORD], "categories": [CATEGORY]}
VERSIONS = {
    "versions": [VERSION],
    "meta": {**TOTAL, "next_page": "page?", "release_tracks?": MapOf({"highest": "str"})},
}
DEPENDENTS = {"dependencies": [DEPENDENCY], "versions": [VERSION], "meta": TOTAL}

# Routes of a crate and one of its versions, beneath the base.
VERSION_ROUTES: dict[str, Any] = {
    "/crates/{name}": FULL_CRATE,
    "/crates/{name}?include=full": FULL_CRATE,
    "/crates/{name}?include=": {
        "crate": CRATE,
        "versions": "nothing",
        "keywords": "nothing",
        "categories": "nothing",
    },
    "/crates/{name}?include=versions,downloads": {
        "crate": {**CRATE, "versions": ["int"], "recent_downloads": "int"},
        "versions": [VERSION],
        "keywords": "nothing",
        "categories": "nothing",
    },
    "/crates/{name}?include=default_version,keywords,categories,badges": {
        "crate": {**CRATE, "versions": "nothing", "keywords": ["str"], "categories": ["str"]},
        "versions": [VERSION],
        "keywords": [KEYWORD],
        "categories": [CATEGORY],
    },
    "/crates/{name}/versions": VERSIONS,
    "/crates/{name}/versions?sort=date&per_page=3": VERSIONS,
    "/crates/{name}/versions?sort=semver&per_page=100&include=release_tracks": VERSIONS,
    "/crates/{name}/versions?nums[]={number}": VERSIONS,
    "/crates/{name}/{number}": {"version": VERSION},
    "/crates/{name}/{number}/dependencies": {"dependencies": [DEPENDENCY]},
    "/crates/{name}/{number}/authors": {"users": [USER], "meta": {"names": ["str"]}},
    "/crates/{name}/{number}/readme": {"url": "url"},
    "/crates/{name}/{number}/download": {"url": "url"},
    "/crates/{name}/{number}/downloads": {"version_downloads": [VERSION_DAY]},
    "/crates/{name}/downloads": {"version_downloads": [VERSION_DAY], "meta": {"extra_downloads": [DAY]}},
    "/crates/{name}/reverse_dependencies": DEPENDENTS,
    "/crates/{name}/reverse_dependencies?page=1&per_page=100": DEPENDENTS,
}

SORTS = ("alpha", "downloads", "recent-downloads", "recent-updates", "new")

# Routes of the whole registry; `query` is a word that its crates have, `category` and `keyword` what one of them has.
LIST_ROUTES: dict[str, Any] = {
    **{
        f"/crates{query}": CRATES
        for query in (
            "",
            "?q={query}",
            "?q={query}&sort=relevance&page=1&per_page=1",
            "?sort=&page=1",
            *(f"?sort={sort}&per_page=2" for sort in SORTS),
            "?category={category}",
            "?keyword={keyword}",
            "?letter=d",
            "?user_id=1",
            "?team_id=1",
            "?ids[]={name}&ids[]=nothing",
        )
    },
    "/keywords": {"keywords": [KEYWORD], "meta": TOTAL},
    "/keywords?sort=crates&page=1&per_page=1": {"keywords": [KEYWORD], "meta": TOTAL},
    "/keywords/{keyword}": {"keyword": KEYWORD},
    "/categories": {"categories": [CATEGORY], "meta": TOTAL},
    "/categories?sort=crates": {"categories": [CATEGORY], "meta": TOTAL},
    "/categories/{category}": {
        "category": {**CATEGORY, "subcategories": [CATEGORY], "parent_categories": [CATEGORY]},
    },
    "/category_slugs": {"category_slugs": [SLUG]},
    "/summary": {
        "num_crates": "int",
        "num_downloads": "int",
        "just_updated": [LISTED_CRATE],
        "most_downloaded": [LISTED_CRATE],
        "new_crates": [LISTED_CRATE],
        "most_recently_downloaded": [LISTED_CRATE],
        "popular_categories": [CATEGORY],
        "popular_keywords": [KEYWORD],
    },
    "/site_metadata": {"deployed_sha": "str", "commit": "str", "read_only": "bool"},
    "/users/{login}": {"user": USER},
    "/users/{user_id}/stats": {"total_downloads": "int"},
}

# Routes that need a token. The owners of our own crates have an e-mail address for those who may see it, too.
TOKEN = {
    "id": "int",
    "name": "str",
    "created_at": "time",
    "last_used_at": "time?",
    "crate_scopes": Nullable(["str"]),
    "endpoint_scopes": Nullable(["str"]),
    "expired_at": "time?",
}
TOKEN_ROUTES: dict[str, Any] = {
    "/crates?following=yes": CRATES,
    "/crates/{name}/owners": {"users": [{**OWNER, "email": "str?"}]},
    "/crates/{name}/owner_user": {"users": [OWNER]},
    "/crates/{name}/owner_team": {"teams": [OWNER]},
    "/crates/{name}/following": {"following": "bool"},
    "/me": {
        "user": {
            **USER,
            "email_verified": "bool",
            "email_verification_sent": "bool",
            "email": "str?",
            "is_admin": "bool",
            "publish_notifications": "bool",
            "created_at": "time",
        },
        "owned_crates": [{"id": "int", "name": "str", "email_notifications": "bool"}],
    },
    "/me/tokens": {"api_tokens": [TOKEN]},
    "/me/updates": {"versions": [VERSION], "meta": {"more": "bool"}},
}


def differences(
    value: Any, shape: Any, base: str, path: str = "", around: Mapping[str, Any] | None = None
) -> Iterator[str]:
    """Describe each place where a value has not the shape; `around` is the object that has the value."""
    if isinstance(shape, Nullable):
        if value is not None:
            yield from differences(value, shape.shape, base, path)
    elif isinstance(shape, Path | str):
        if not (is_of(value, shape) if isinstance(shape, str) else value == shape.beneath(base, around or {})):
            yield f"{path} is {value!r}, not {shape}"
    elif isinstance(shape, dict):
        yield from differences_of_fields(value, shape, base, path)
    elif isinstance(shape, list) and isinstance(value, list):
        for number, item in enumerate(value):
            yield from differences(item, shape[0], base, f"{path}[{number}]")
    elif isinstance(shape, MapOf) and isinstance(value, dict):
        for key, item in value.items():
            yield from differences(item, shape.shape, base, f"{path}.{key}")
    else:
        yield f"{path} is {value!r}, not {shape}"


def differences_of_fields(value: Any, shape: Mapping[str, Any], base: str, path: str) -> Iterator[str]:
    if not isinstance(value, dict):
        yield f"{path} is {value!r}, not an object"
        return
    fields = {name.removesuffix("?"): field for name, field in shape.items()}
    for name in value.keys() - fields.keys():
        yield f"{path}.{name} is too much"
    for name, field in shape.items():
        key = name.removesuffix("?")
        if key in value:
            yield from differences(value[key], field, base, f"{path}.{key}", value)
        elif key == name:
            yield f"{path}.{key} is missing"


def is_of(value: Any, kind: str) -> bool:
    """Return whether a value is of a type; `?` behind it means or null."""
    if value is None or value == "":  # what may be null is never empty
        return (value is None and kind.endswith("?")) or kind == ("nothing" if value is None else "str")
    try:
        return TYPES[kind.removesuffix("?")](value)
    except ValueError:  # no time
        return False


def offenders(get: Callable[[str], Any], base: str, routes: Mapping[str, Any], **parameters: Any) -> list[str]:
    """GET the routes beneath `base`, with these parameters in them, and describe each answer of another shape."""
    lines: list[str] = []
    for template, shape in routes.items():
        path = base + template.format(**parameters)
        answer = get(path)
        if answer.status_code != 200:
            lines.append(f"{path}: {answer.status_code} {answer.content[:200]!r}")
        else:
            body = json.loads(answer.getvalue())  # also of a long answer, which is written piece by piece
            lines += [f"{path}: {difference}" for difference in differences(body, shape, base)][:5]
    return lines
