"""What a running mirror keeps, seen from outside: its database, its store of bytes, and what is unfinished there."""

import hashlib
import sqlite3
from pathlib import Path
from typing import Any

import psycopg

from tests.support.servers import SQLITE, Server


def rows(server: Server, statement: str) -> list[Any]:
    """What a statement gives in the server's own database."""
    if url := server.environment.get("REGISTRY_DATABASE_URL"):
        with psycopg.connect(url) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []
    local = sqlite3.connect(server.data / SQLITE, timeout=20)
    try:
        with local:
            return local.execute(statement).fetchall()
    finally:
        local.close()


def outdate(server: Server, name: str = "") -> None:
    """The entry, or each of them, was looked at long ago."""
    which = f" WHERE name = '{name}'" if name else ""
    rows(server, f"UPDATE mirror_cachedindexfile SET checked_at = '2001-01-01 00:00:00+00:00'{which}")


def files(place: Path) -> dict[str, bytes]:
    """All files below, by their names."""
    return {path.name: path.read_bytes() for path in place.rglob("*") if path.is_file()}


def damage(server: Server) -> list[str]:
    """Files that are not what their names say, and rows without their bytes; what is unfinished is left aside."""
    unready = {path.name for path in unfinished(server)}
    kept = {name: content for name, content in files(server.data / "mirror").items() if name not in unready}
    wrong = [name for name, content in kept.items() if hashlib.sha256(content).hexdigest() != name]
    archives = rows(server, "SELECT name, version, sha256, size FROM mirror_cachedcrate")
    return wrong + [
        f"{name}@{version}" for name, version, sha256, size in archives if len(kept.get(sha256, b"")) != size
    ]


def unfinished(server: Server) -> list[Path]:
    """Temporary files, which only a killed process leaves."""
    places = (server.data / "mirror" / "incoming", server.data / "uploads")
    return [path for place in places if place.is_dir() for path in place.iterdir()]
