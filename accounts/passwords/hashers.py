"""Password hashers: Argon2id for all passwords, and PBKDF2 to verify imported ones."""

import hashlib
import hmac
import re
from typing import Any

from django.contrib.auth.hashers import Argon2PasswordHasher, BasePasswordHasher

from accounts.passwords import hash_turns
from accounts.passwords.opaque_strings import prepare, spellings
from registry_site.encoding import decode_base64


class Argon2idHasher(Argon2PasswordHasher):
    """Argon2id with OWASP's figures: 19 MiB, two passes, one lane.

    Django's defaults take 100 MiB for each hash: a few concurrent log-ins would fill the memory of a small server.
    """

    time_cost = 2
    memory_cost = 19 * 1024  # KiB
    parallelism = 1

    def encode(self, password: str, salt: str) -> str:
        with hash_turns.turns.turn():
            return super().encode(prepare(password), salt)

    def verify(self, password: str, encoded: str) -> bool:
        with hash_turns.turns.turn():
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
        with hash_turns.turns.turn():
            digests = [hashlib.pbkdf2_hmac("sha256", text.encode(), *costs) for text in spellings(password)]
        return any([hmac.compare_digest(digest, stored["hash"]) for digest in digests])

    def safe_summary(self, encoded: str) -> Any:
        return {"algorithm": self.algorithm, "iterations": self.decode(encoded)["iterations"]}

    def must_update(self, encoded: str) -> bool:
        return True  # the next log-in replaces it by Argon2id

    def harden_runtime(self, password: str, encoded: str) -> None:
        pass  # Django pads runtimes to its default cost; imported hashes have none
