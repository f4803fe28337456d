"""State of a running mirror, seen from outside: its database, its stored bytes, its temporary files."""

import hashlib
import sqlite3
from pathlib import Path
from typing import Any

import psycopg

from tests.support.servers import SQLITE, Server


def query(server: Server, statement: str) -> list[Any]:
    """Run a statement in the database of the server; return its rows."""
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


def mark_stale(server: Server, name: str = "") -> None:
    """Let the mirror refresh an index file, or all of them, at the next request."""
    condition = f" WHERE name = '{name}'" if name else ""
    query(server, f"UPDATE mirror_cachedindexfile SET checked_at = '2001-01-01 00:00:00+00:00'{condition}")


def read_files(folder: Path) -> dict[str, bytes]:
    """Return the contents of all files below a folder, by their names."""
    return {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def find_damage(server: Server) -> list[str]:
    """Return stored files with another checksum than their name, and rows without bytes; ignore temporary files."""
    temporary = {path.name for path in temporary_files(server)}
    stored = {name: content for name, content in read_files(server.data / "mirror").items() if name not in temporary}
    wrong = [name for name, content in stored.items() if hashlib.sha256(content).hexdigest() != name]
    crates = query(server, "SELECT name, version, sha256, size FROM mirror_cachedcrate")
    return wrong + [
        f"{name}@{version}" for name, version, sha256, size in crates if len(stored.get(sha256, b"")) != size
    ]


def temporary_files(server: Server) -> list[Path]:
    """Return the temporary files, which only a killed process leaves."""
    folders = (server.data / "mirror" / "incoming", server.data / "uploads")
    return [path for folder in folders if folder.is_dir() for path in folder.iterdir()]
