"""The source browser: folders and files of a version."""

from typing import Any

from django.http import HttpRequest

from crates import source
from crates.pages.crate import CratePage
from crates.presentation import PresentedCrate
from crates.source import Folder


class Source(CratePage):
    """`GET /crates/{name}[/{version}]/source[/{path}]`"""

    template_name = "crates/source.html"

    def context(self, request: HttpRequest, crate: PresentedCrate) -> dict[str, Any]:
        path: str = self.kwargs.get("path", "")
        content = source.find(crate.blob, crate.members, path)
        is_folder = isinstance(content, Folder)
        return {"tab": "source", "ways_up": source.ways_up(path), "content": content, "is_folder": is_folder}
