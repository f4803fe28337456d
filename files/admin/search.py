"""Machines and files in the search of the admin site."""

import re
from collections.abc import Iterator

from files.models import Client, File
from registry_site.admin.search import Rows, add
from registry_site.search.prefixes import begins

NUMBER = re.compile(r"[0-9]{1,15}")


@add("files.view_client")
def find_machines(text: str) -> Iterator[Rows]:
    yield Rows("Machines", Client.objects.filter(begins("name", text)), "name", "maintainer")


@add("files.view_file")
def find_files(text: str) -> Iterator[Rows]:
    """Yield files by the beginning of a path, or by number."""
    yield Rows("Files", File.objects.filter(begins("serve_path", text)), "serve_path", "path")
    if text.startswith("/"):
        yield Rows("Files", File.objects.filter(begins("path", text)), "serve_path", "path", "path")
    if NUMBER.fullmatch(text):
        yield Rows("Files of a number", File.objects.filter(pk=int(text)), "serve_path", "path", has_list=False)
