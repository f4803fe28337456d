"""What differs between two versions of a crate for those who trust it: how it is built, by whom, and out of what."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from crates import dependency_links
from crates.package.inventory import Inventory
from crates.presentation import LICENSE_NAME, PresentedCrate
from crates.records import DependencyRecord
from registry_site.markdown import links

MAX_SHOWN_PATHS = 20
MAX_TEXT = 120  # characters of a value
MAX_SHOWN_FEATURES = 10
MAX_DEPENDENCIES_SIZE = 6 * 1024  # bytes of the texts that are shown


@dataclass(frozen=True)
class Side:
    """One of the two versions; without an inventory if its file is not stored."""

    crate: PresentedCrate
    inventory: Inventory | None

    @property
    def commit(self) -> str:
        return self.crate.version.vcs_commit or (self.inventory.vcs_commit if self.inventory else "")

    @property
    def commit_page(self) -> str:
        return links.commit_page(self.crate.version.repository, self.commit)

    @property
    def publisher(self) -> str:
        user = self.crate.version.published_by
        return user.username if user else ""


@dataclass(frozen=True)
class Change:
    """A property that differs. Of the files of the new version, `paths` are those in which to look for it."""

    label: str
    before: str
    after: str
    paths: Sequence[str] = ()
    is_grave: bool = False  # somebody who trusts the crate has to look into it


@dataclass(frozen=True)
class DependencyChange:
    """A dependency that came, went or differs."""

    kind: str
    name: str
    scope: str
    before: str
    after: str
    details: Sequence[str]
    record: DependencyRecord
    url: str = ""

    @property
    def size(self) -> int:
        texts = (self.kind, self.name, self.scope, self.before, self.after, *self.details)
        return sum(len(text.encode()) for text in texts)


@dataclass(frozen=True)
class Summary:
    """What differs before one looks into the files; `unchanged` are the labels of what does not."""

    changes: Sequence[Change] = ()
    unchanged: Sequence[str] = ()
    dependencies: Sequence[DependencyChange] = ()
    hidden_dependencies: int = 0


def summarize(old: Side, new: Side) -> Summary:
    """Compare two versions, except for their files."""
    compared = list(compare_sides(old, new))
    dependencies = list(compare_dependencies(old.crate.dependencies, new.crate.dependencies))
    shown, left = [], MAX_DEPENDENCIES_SIZE
    for dependency in dependencies:
        left -= dependency.size
        if left >= 0:
            shown.append(dependency)
    return Summary(
        changes=[change for change in compared if change.before != change.after],
        unchanged=[change.label for change in compared if change.before == change.after],
        dependencies=with_links(shown),
        hidden_dependencies=len(dependencies) - len(shown),
    )


def with_links(changes: Sequence[DependencyChange]) -> list[DependencyChange]:
    """Return changes with the addresses of the crates that are needed."""
    linked = dependency_links.link([change.record for change in changes])
    return [replace(change, url=each.url) for change, each in zip(changes, linked, strict=True)]


# --- How it is built, and by whom ---------------------------------------------------------------------------------


def compare_sides(old: Side, new: Side) -> Iterator[Change]:
    if old.inventory and new.inventory and old.inventory.has_manifest and new.inventory.has_manifest:
        yield from compare_builds(old.inventory, new.inventory)
    if old.publisher or new.publisher:
        yield Change("Publisher", old.publisher, new.publisher, is_grave=True)


def compare_builds(old: Inventory, new: Inventory) -> Iterator[Change]:
    """Yield all that manifests and files say about a build, also what is equal."""
    yield compare_build_scripts(old, new)
    yield Change("Procedural macro", yes_or_no(old.is_proc_macro), yes_or_no(new.is_proc_macro), is_grave=True)
    yield compare_unsafe(old, new)
    yield Change("Licence", license_of(old), license_of(new), is_grave=True)
    yield compare_license_texts(old, new)
    yield Change("Rust", old.rust_version or "any", new.rust_version or "any")
    yield Change("Edition", old.edition, new.edition)
    yield Change("Programs", listed(old.programs), listed(new.programs))


def compare_build_scripts(old: Inventory, new: Inventory) -> Change:
    paths = [path for path in new.build_scripts if path in new.files]
    after = with_changes(listed(new.build_scripts), old, new, [path for path in paths if path in old.build_scripts])
    return Change("Build script", listed(old.build_scripts), after, shown_paths(paths), is_grave=True)


def compare_unsafe(old: Inventory, new: Inventory) -> Change:
    """Compare the numbers of `unsafe` tokens; `paths` are the files in which there are more."""
    before, after = old.unsafe_counts, new.unsafe_counts
    grown = [path for path, count in sorted(after.items()) if count > before.get(path, 0)]
    return Change(
        "unsafe",
        number_of_unsafe(old),
        number_of_unsafe(new),
        shown_paths(grown),
        is_grave=bool(grown) or not new.is_counted,
    )


def number_of_unsafe(files: Inventory) -> str:
    number = f"{sum(files.unsafe_counts.values()):,}"
    return number if files.is_counted else f"at least {number}, for not all files were counted"


def compare_license_texts(old: Inventory, new: Inventory) -> Change:
    before, after = license_files(old), license_files(new)
    remark = with_changes(listed(after), old, new, [path for path in after if path in before])
    differing = [path for path in after if digest_of(old, path) != digest_of(new, path)]
    return Change("Licence text", listed(before), remark, shown_paths(differing), is_grave=True)


def license_files(files: Inventory) -> list[str]:
    """Return the paths of files that are named like a licence, and of the one that the manifest names."""
    paths = [path for path in files.files if LICENSE_NAME.fullmatch(path) or path == files.license_file]
    return sorted(paths)[:MAX_SHOWN_PATHS]


def with_changes(text: str, old: Inventory, new: Inventory, paths: Sequence[str]) -> str:
    """Return the text, which says so if one of some files that both versions have differs."""
    return f"{text}, with changes" if any(digest_of(old, path) != digest_of(new, path) for path in paths) else text


def digest_of(files: Inventory, path: str) -> bytes:
    file = files.files.get(path)
    return file.digest if file else b""


def license_of(files: Inventory) -> str:
    return shorten(files.license) or (f"in the file {shorten(files.license_file)}" if files.license_file else "none")


def yes_or_no(value: bool) -> str:
    return "yes" if value else "no"


def shown_paths(paths: Sequence[str]) -> list[str]:
    return [path for path in paths if len(path) <= MAX_TEXT][:MAX_SHOWN_PATHS]


def listed(texts: Sequence[str]) -> str:
    return shorten(", ".join(texts)) or "none"


def shorten(text: str) -> str:
    return text if len(text) <= MAX_TEXT else f"{text[: MAX_TEXT - 1]}…"


# --- What it is built out of --------------------------------------------------------------------------------------


def compare_dependencies(
    old: Sequence[DependencyRecord], new: Sequence[DependencyRecord]
) -> Iterator[DependencyChange]:
    """Yield the dependencies that differ: new ones first, then those that are gone, then those that changed."""
    before, after = ({key_of(record): record for record in records} for records in (old, new))
    for key, record in after.items():
        if key not in before:
            yield DependencyChange(
                "added", shown_name(record), scope_of(record), "", record.req, options_of(record), record
            )
    for key, record in before.items():
        if key not in after:
            yield DependencyChange("removed", shown_name(record), scope_of(record), record.req, "", (), record)
    for key, record in after.items():
        details = differences(before[key], record) if key in before else []
        if details or (key in before and before[key].req != record.req):
            yield DependencyChange(
                "changed",
                shown_name(record),
                scope_of(record),
                shorten(before[key].req),
                shorten(record.req),
                details,
                record,
            )


def key_of(record: DependencyRecord) -> tuple[str, str, str]:
    return record.explicit_name or record.crate_id, record.kind, record.target


def shown_name(record: DependencyRecord) -> str:
    return f"{record.explicit_name} ({record.crate_id})" if record.explicit_name else record.crate_id


def scope_of(record: DependencyRecord) -> str:
    """Return for which builds the dependency is."""
    kinds = {"build": "for the build script", "dev": "for tests and examples"}
    return " ".join(filter(None, (kinds.get(record.kind, ""), record.target and f"on {shorten(record.target)}")))


def options_of(record: DependencyRecord) -> list[str]:
    """Return what a manifest says of a dependency beside the requirement."""
    texts = ["optional"] if record.optional else []
    if not record.default_features:
        texts.append("without default features")
    if record.features:
        texts.append(f"with {feature_list(record.features)}")
    return texts


def differences(old: DependencyRecord, new: DependencyRecord) -> list[str]:
    texts = []
    if old.crate_id != new.crate_id:
        texts.append(f"another crate: {old.crate_id} before")
    if old.registry != new.registry:
        texts.append(f"from another registry: {shorten(old.registry) or 'this one'} before")
    if old.optional != new.optional:
        texts.append("now optional" if new.optional else "no longer optional")
    if old.default_features != new.default_features:
        texts.append("now with default features" if new.default_features else "now without default features")
    if added := sorted(set(new.features) - set(old.features)):
        texts.append(f"now with {feature_list(added)}")
    if gone := sorted(set(old.features) - set(new.features)):
        texts.append(f"no longer with {feature_list(gone)}")
    return texts


def feature_list(features: Sequence[str]) -> str:
    more = len(features) - MAX_SHOWN_FEATURES
    shown = ", ".join(shorten(feature) for feature in features[:MAX_SHOWN_FEATURES])
    return f"{shown} and {more} more" if more > 0 else shown
