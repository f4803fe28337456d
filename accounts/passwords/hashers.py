"""Password hashers: Argon2id for all passwords, and PBKDF2 to verify imported ones."""

import hashlib
import hmac
import os
import re
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.conf import settings
from django.contrib.auth.hashers import Argon2PasswordHasher, BasePasswordHasher

from accounts.passwords.opaque_strings import prepare, spellings
from registry_site.encoding import decode_base64
from registry_site.errors import TooManyRequests, Unavailable
from registry_site.http import client_address

# More hashes than processors at a time would not be faster, and would starve all other requests of the worker.
_hash_slots = threading.BoundedSemaphore(os.cpu_count() or 1)
_counting = threading.Lock()
_hashing_threads: Counter[str] = Counter()  # by the network of their client


@contextmanager
def hash_turn() -> Iterator[None]:
    """Wait for a processor, at most with half of the worker's threads: the others go on serving.

    Raises `Unavailable` without waiting when so many threads hash, and `TooManyRequests` when three quarters of them do
    it for the client's network: it must not keep others from logging in.
    """
    network = client_address.client_network()
    most = max(1, settings.THREADS // 2)
    with _counting:
        if network and _hashing_threads[network] >= max(1, most * 3 // 4):
            raise TooManyRequests("Too many log-ins from your address at the same time; try again.", retry_after=1)
        if _hashing_threads.total() >= most:
            raise Unavailable("Too many log-ins at the same time; try again.", retry_after=1, code="busy")
        _hashing_threads[network] += 1
    try:
        with _hash_slots:
            yield
    finally:
        with _counting:
            _hashing_threads[network] -= 1
            if not _hashing_threads[network]:
                del _hashing_threads[network]


class Argon2idHasher(Argon2PasswordHasher):
    """Argon2id with OWASP's figures: 19 MiB, two passes, one lane.

    Django's defaults take 100 MiB for each hash: a few concurrent log-ins would fill the memory of a small server.
    """

    time_cost = 2
    memory_cost = 19 * 1024  # KiB
    parallelism = 1

    def encode(self, password: str, salt: str) -> str:
        with hash_turn():
            return super().encode(prepare(password), salt)

    def verify(self, password: str, encoded: str) -> bool:
        with hash_turn():
            # All spellings, also after one was right: the time must not tell which.
            return any([super(Argon2idHasher, self).verify(text, encoded) for text in spellings(password)])


class PBKDF2PHCHasher(BasePasswordHasher):
    """PBKDF2 with SHA-256 in the PHC string format, as torrust once stored it; it only verifies.

    `pbkdf2-sha256$i=<iterations>,l=<bytes>$<salt>$<hash>`, the last two in base64 without padding.
    """

    algorithm = "pbkdf2-sha256"
    pattern = re.compile(r"pbkdf2-sha256\$i=([0-9]{1,8}),l=([0-9]{1,3})\$([A-Za-z0-9+/]{4,88})\$([A-Za-z0-9+/]{16,88})")

    def decode(self, encoded: str) -> dict[str, Any]:
        match = self.pattern.fullmatch(encoded)
        if match is None:
            raise ValueError("no PBKDF2 hash in the PHC string format")
        iterations, length, salt, hashed = match.groups()
        return {
            "algorithm": self.algorithm,
            "iterations": int(iterations),
            "length": int(length),
            "salt": decode_base64(salt),
            "hash": decode_base64(hashed),
        }

    def verify(self, password: str, encoded: str) -> bool:
        stored = self.decode(encoded)
        costs = stored["salt"], stored["iterations"], stored["length"]
        with hash_turn():
            digests = [hashlib.pbkdf2_hmac("sha256", text.encode(), *costs) for text in spellings(password)]
        return any([hmac.compare_digest(digest, stored["hash"]) for digest in digests])

    def safe_summary(self, encoded: str) -> Any:
        return {"algorithm": self.algorithm, "iterations": self.decode(encoded)["iterations"]}

    def must_update(self, encoded: str) -> bool:
        return True  # the next log-in replaces it by Argon2id

    def harden_runtime(self, password: str, encoded: str) -> None:
        pass  # Django pads runtimes to its default cost; imported hashes have none
