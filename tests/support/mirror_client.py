"""A client of the mirror, and what its responses say."""

import json
from typing import Any

from crates.names import index_path
from tests.support.cast import CargoClient

ABSENCES = {
    404: "upstream has none of this name",
    410: "upstream has removed it",
    451: "upstream withholds it for legal reasons",
}


class MirrorClient(CargoClient):
    """Requests index files, crates and reasons of the mirror."""

    def index_file(self, name: str = "demo", **headers: str) -> Any:
        return self.get(f"/mirror/index/{index_path(name)}", headers=headers)

    def crate(self, name: str = "demo", version: str = "1.0.0", **headers: str) -> Any:
        """Return a response with its `body`, which is read to the end, so that the file is closed."""
        response: Any = self.get(f"/ktra/api/v1/mirror/{name}/{version}/download", headers=headers)
        response.body = b"".join(response)
        return response

    def page(self, name: str = "demo") -> Any:
        return self.get(f"/mirror/crates/{name}", headers={"Accept": "text/html"})

    def versions(self, name: str = "demo") -> list[dict[str, Any]]:
        versions: list[dict[str, Any]] = self.get(f"/mirror/crates/{name}").json()["versions"]
        return versions

    def reasons(self, name: str = "demo") -> dict[str, str]:
        """Return why versions are held back, by version."""
        return {version["num"]: version["held_back"] for version in self.versions(name) if version["held_back"]}

    def yanked(self, name: str = "demo") -> list[str]:
        """Return the versions that are yanked in the index file."""
        lines = [json.loads(text) for text in self.index_file(name).content.splitlines()]
        return [line["vers"] for line in lines if line["yanked"]]


def no_such_crate(reason: str) -> dict[str, Any]:
    """Return the body of a 404 of the index."""
    return {"errors": [{"detail": f"There is no such crate in this index: {reason}."}]}


def upstream_fails(reason: str) -> dict[str, Any]:
    """Return the body of a response that passes on a fault of upstream."""
    return {"errors": [{"detail": f"The mirror's upstream fails: {reason}."}]}
