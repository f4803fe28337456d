"""`manage.py mirror status|prefetch|verify|examine|prune|export|import`: maintenance of the mirror by its operator."""

import sys
from argparse import ArgumentParser
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db.models import Sum
from tqdm import tqdm

from crates.mirror import crate_facts, downloads, examination, maintenance, policies, prefetch, transfer
from crates.mirror.models import CachedCrate, Incident, Override
from registry_site import audit
from registry_site.errors import Lost, RegistryError

T = TypeVar("T")


class Command(BaseCommand):
    requires_system_checks = []
    help = "Look after the mirror of crates.io."

    def add_arguments(self, parser: ArgumentParser) -> None:
        verbs = parser.add_subparsers(dest="verb", required=True)

        status = verbs.add_parser("status", help="print totals, policies, overrides and incidents")
        status.set_defaults(run=self.status)

        prefetch = verbs.add_parser("prefetch", help="fetch crates before a client requests them")
        prefetch.add_argument(
            "source",
            help="a Cargo.lock, a list of lines such as `serde 1.0.0`, or a crate, fetched with all dependencies",
        )
        prefetch.set_defaults(run=self.prefetch)

        verify = verbs.add_parser("verify", help="read every file again, and delete damaged ones")
        verify.add_argument(
            "--archives", action="store_true", help="also look for links in crates of private upstreams"
        )
        verify.set_defaults(run=self.verify)

        examine = verbs.add_parser(
            "examine", help="read README, targets and the like from files that were not examined yet"
        )
        examine.set_defaults(run=self.examine)

        prune = verbs.add_parser("prune", help="delete files that nobody has requested for long")
        prune.add_argument("--days", type=int, default=180, help="default: 180")
        prune.add_argument("--dry-run", action="store_true", help="print what would be deleted, and delete nothing")
        prune.set_defaults(run=self.prune)

        export = verbs.add_parser("export", help="write all files into a folder")
        export.add_argument("folder", type=Path)
        export.set_defaults(run=self.export_to)

        import_ = verbs.add_parser("import", help="store the files of an exported folder")
        import_.add_argument("folder", type=Path)
        import_.set_defaults(run=self.import_from)

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            options["run"](options)
        except RegistryError as error:
            raise CommandError(error.message) from error
        except OSError as error:
            raise CommandError(f"{error.filename or 'The disk'}: {error.strerror}.") from error

    def status(self, options: dict[str, Any]) -> None:
        totals = maintenance.totals()
        self.stdout.write(
            f"Upstream: {' '.join(settings.MIRROR_UPSTREAM)}{' (offline)' if settings.MIRROR_OFFLINE else ''}"
        )
        self.stdout.write(
            f"{totals['crates']} crates known, {totals['files']} files kept, {format_size(totals['bytes'])}."
        )
        if unexamined := crate_facts.count_outdated():
            self.stdout.write(f"{unexamined} files are not examined yet; `mirror examine` does that.")
        for policy in policies.describe():
            self.stdout.write(f"Policy: {policy}.")
        for override in Override.objects.active()[:20]:
            self.stdout.write(f"Staff: {override} ({override.reason})")
        for incident in Incident.objects.filter(settled_at=None)[:20]:
            self.stdout.write(
                f"{incident.last_at:%Y-%m-%d %H:%M} {incident.subject}: {incident.detail} ({incident.count} times)"
            )

    def prefetch(self, options: dict[str, Any]) -> None:
        versions = prefetch.read_source(options["source"])
        fetched, failures = 0, []
        for name, version in show_progress(versions, len(versions)):
            try:
                fetched += downloads.get_crate(name, version).is_new
            except RegistryError as error:  # go on: an operator wants all that can be fetched
                failures.append(f"{name}@{version}: {error.message}")
        examination.examiner.finish()
        if fetched:
            audit.record(None, audit.Action.MIRROR_PREFETCH, options["source"], fetched=fetched)
        self.stdout.write(f"{fetched} fetched, {len(versions) - fetched - len(failures)} were here before.")
        fail_with(failures)

    def verify(self, options: dict[str, Any]) -> None:
        crates = CachedCrate.objects.all()
        failures = []
        for crate in show_progress(maintenance.iterate(crates), crates.count()):
            if not maintenance.verify_or_discard(crate):
                failures.append(f"{crate} was damaged, and is forgotten")
            elif options["archives"] and (reason := maintenance.refusal_of_archive(crate)):
                failures.append(f"{crate} is forgotten, for {crate.upstream or 'its upstream'} is private: {reason}")
        self.stdout.write(f"{crates.count()} files are as they should be.")
        fail_with(failures)

    def examine(self, options: dict[str, Any]) -> None:
        examined, failures = 0, []
        for crate in show_progress(crate_facts.outdated_crates(), crate_facts.count_outdated()):
            try:
                examined += examination.examine(crate)
            except Lost as error:  # the next request, or `verify`, mends the file
                failures.append(f"{crate}: {error.message}")
        if examined:
            crate_facts.record(examined)
        self.stdout.write(f"{examined} files are read.")
        fail_with(failures)

    def prune(self, options: dict[str, Any]) -> None:
        unused = maintenance.unused_crates(options["days"])
        number, size = unused.count(), unused.aggregate(size=Sum("size"))["size"] or 0
        if options["dry_run"]:
            self.stdout.write(f"{number} files, {format_size(size)}, would be deleted.")
            return
        crates = show_progress(maintenance.iterate(unused), number)
        deleted, failure = maintenance.delete_crates(crates, actor=None)
        self.stdout.write(f"{deleted} of {number} files are deleted. All have {format_size(size)}.")
        fail_with([failure] if failure else [])

    def export_to(self, options: dict[str, Any]) -> None:
        folder = options["folder"]
        results = list(show_progress(transfer.export_to(folder), CachedCrate.objects.count()))
        self.stdout.write(f"{sum(is_intact for _, is_intact in results)} files are in {folder}.")
        fail_with(
            [f"{crate} is damaged here: `mirror verify` mends that" for crate, is_intact in results if not is_intact]
        )

    def import_from(self, options: dict[str, Any]) -> None:
        folder = options["folder"]
        results = list(show_progress(transfer.import_from(folder), transfer.count_crates(folder)))
        imported = sum(is_intact for _, is_intact in results)
        audit.record(None, audit.Action.MIRROR_IMPORT, str(folder), imported=imported)
        self.stdout.write(f"{imported} files are here now.")
        damaged = [crate for crate, is_intact in results if not is_intact]
        fail_with([f"{crate} is not what its index says" for crate in damaged])


def fail_with(failures: list[str]) -> None:
    """Raise `CommandError` with all failures, if there are any, so that the exit code shows them."""
    if failures:
        raise CommandError("\n".join(failures))


def show_progress(items: Iterable[T], total: int) -> Iterator[T]:
    """Yield the items, with a progress bar on a terminal."""
    yield from tqdm(items, total=total, disable=not sys.stderr.isatty(), unit="file")


def format_size(size: int) -> str:
    return f"{size / 1_000_000:.1f} MB"
