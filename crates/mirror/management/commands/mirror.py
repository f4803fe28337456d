"""`manage.py mirror status|prefetch|verify|prune|export|import`: looking after the mirror."""

import sys
from argparse import ArgumentParser
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db.models import Sum
from tqdm import tqdm

from crates.mirror import maintenance, policies, prefetch, transfer
from crates.mirror.models import CachedCrate, Incident, Override
from registry_site.errors import RegistryError

T = TypeVar("T")


class Command(BaseCommand):
    requires_system_checks = []
    help = "Look after the mirror of crates.io."

    def add_arguments(self, parser: ArgumentParser) -> None:
        verbs = parser.add_subparsers(dest="verb", required=True)
        verbs.add_parser("status", help="what there is, and what is wrong with it")
        prefetch = verbs.add_parser("prefetch", help="fetch before anybody asks")
        prefetch.add_argument(
            "source",
            help="a Cargo.lock, a list of lines such as `serde 1.0.0`, or a crate, with all that it needs",
        )
        verbs.add_parser(
            "verify", help="read every file again; one that is damaged is forgotten, and fetched when it is asked for"
        )
        prune = verbs.add_parser("prune", help="delete what nobody has asked for in long")
        prune.add_argument("--days", type=int, default=180, help="default: 180")
        prune.add_argument("--dry-run", action="store_true", help="only tell what would be deleted")
        for verb, told in (("export", "write all of it into a folder"), ("import", "take in what such a folder has")):
            verbs.add_parser(verb, help=told).add_argument("folder", type=Path)

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            getattr(self, f"_{options['verb']}")(options)
        except RegistryError as error:
            raise CommandError(error.message) from error
        except OSError as error:
            raise CommandError(f"{error.filename or 'The disk'}: {error.strerror}.") from error

    def _status(self, options: dict[str, Any]) -> None:
        totals = maintenance.totals()
        self.stdout.write(
            f"Upstream: {' '.join(settings.MIRROR_UPSTREAM)}{' (offline)' if settings.MIRROR_OFFLINE else ''}"
        )
        self.stdout.write(f"{totals['crates']} crates known, {totals['files']} files kept, {_size(totals['bytes'])}.")
        for policy in policies.describe():
            self.stdout.write(f"Policy: {policy}.")
        for decision in Override.objects.active()[:20]:
            self.stdout.write(f"Staff: {decision} ({decision.reason})")
        for incident in Incident.objects.filter(settled_at=None)[:20]:
            self.stdout.write(
                f"{incident.last_at:%Y-%m-%d %H:%M} {incident.subject}: {incident.detail} ({incident.count} times)"
            )

    def _prefetch(self, options: dict[str, Any]) -> None:
        wanted = prefetch.read_source(options["source"])
        fetched, failed = 0, []
        for name, version in _shown(wanted, len(wanted)):
            try:
                fetched += prefetch.fetch(name, version)
            except RegistryError as error:
                failed.append(f"{name}@{version}: {error.message}")
        self.stdout.write(f"{fetched} fetched, {len(wanted) - fetched - len(failed)} were here before.")
        self._fail(failed)

    def _verify(self, options: dict[str, Any]) -> None:
        archives = CachedCrate.objects.all()
        damaged = [
            str(one)
            for one in _shown(maintenance.iterate(archives), archives.count())
            if not maintenance.verify_or_discard(one)
        ]
        self.stdout.write(f"{archives.count()} files are as they should be.")
        self._fail([f"{one} was damaged, and is forgotten" for one in damaged])

    def _prune(self, options: dict[str, Any]) -> None:
        unused = maintenance.unused_crates(options["days"])
        number, size = unused.count(), unused.aggregate(size=Sum("size"))["size"] or 0
        if not options["dry_run"]:
            for archive in _shown(maintenance.iterate(unused), number):
                maintenance.delete_crate(archive)
        self.stdout.write(f"{number} files, {_size(size)}, {'would be' if options['dry_run'] else 'are'} deleted.")

    def _export(self, options: dict[str, Any]) -> None:
        done = list(_shown(transfer.export_to(options["folder"]), CachedCrate.objects.count()))
        self.stdout.write(f"{sum(whole for _, whole in done)} files are in {options['folder']}.")
        self._fail([f"{what} is damaged here: `mirror verify` mends that" for what, whole in done if not whole])

    def _import(self, options: dict[str, Any]) -> None:
        folder = options["folder"]
        found = list(_shown(transfer.import_from(folder), transfer.count_crates(folder)))
        self.stdout.write(f"{sum(good for _, good in found)} files are here now.")
        self._fail([f"{what} is not what its index says" for what, good in found if not good])

    def _fail(self, failures: list[str]) -> None:
        if failures:
            raise CommandError("\n".join(failures))


def _shown(items: Iterable[T], total: int) -> Iterator[T]:
    """With a bar, where there is somebody to see it."""
    yield from tqdm(items, total=total, disable=not sys.stderr.isatty(), unit="file")


def _size(number: int) -> str:
    return f"{number / 1_000_000:.1f} MB"
