"""An upstream that fails now and then. A seed decides which responses are bad, and how."""

import re
from collections import Counter
from random import Random

from tests.support import bad_upstream
from tests.support.bad_upstream import (
    BadUpstream,
    Behaviour,
    Request,
    crate_path,
    file,
    index_file_path,
    line,
    named,
    refusal,
)

FAULT_SHARE = 0.3  # of the answers
SIZES = (10, 1_000, 20_000, 300_000)  # bytes of a crate
CHECKSUM = re.compile(rb'"cksum":"[0-9a-f]{8}')
PAGE = b"<html><body>We are being repaired.</body></html>\n"


class FaultyUpstream(BadUpstream):
    """An upstream of `count` crates with `versions` versions each; a `share` of its responses are faults."""

    def __init__(self, port: int, seed: int, count: int, versions: int) -> None:
        super().__init__(port)
        self.seed, self.share = seed, FAULT_SHARE
        self.files: dict[tuple[str, str], bytes] = {}  # by crate and version
        self.editions: dict[str, list[bytes]] = {}  # the index files of each crate, the newest last
        self.bodies: dict[str, bytes] = {}  # without faults, by path
        self.request_numbers: Counter[str] = Counter()
        self.faults: Counter[str] = Counter()
        random = Random(seed)
        for number in range(count):
            for _ in range(versions):
                self.publish_next(f"faulty{number:03}", random)

    def publish_next(self, name: str, random: Random) -> None:
        """Publish another version of a crate."""
        editions = self.editions.setdefault(name, [])
        version, content = f"1.{len(editions)}.0", random.randbytes(random.choice(SIZES))
        body = b"".join([*editions[-1:], line(name, version, content), b"\n"])
        self.files[name, version] = self.bodies[crate_path(name, version)] = content
        self.script_crate(name, version, file(content))
        editions.append(body)
        self.bodies[index_file_path(name)] = body
        self.script_index(name, file(body, ETag=f'"{version}"'))

    def choose_behaviour(self, request: Request) -> Behaviour:
        good = super().choose_behaviour(request)
        with self.lock:
            self.request_numbers[request.path] += 1
            random = Random(f"{self.seed} {request.path} {self.request_numbers[request.path]}")
            if random.random() >= self.share:
                return good
            fault = random.choice(_faults(request, self.bodies.get(request.path, b"not here")))
            self.faults[fault.__name__] += 1
            return fault


def _faults(request: Request, body: bytes) -> list[Behaviour]:
    """Return all faults of a response whose body should be this."""
    faults = [
        *(refusal(status) for status in (404, 429, 500, 503)),
        bad_upstream.always_not_modified,
        bad_upstream.not_http,
        bad_upstream.redirect("//elsewhere.invalid/"),
        bad_upstream.redirect_to_itself,
        bad_upstream.hang,
        bad_upstream.halfway(body, bad_upstream.hang),
        bad_upstream.dripping_head,
        bad_upstream.dripping_body,
        bad_upstream.endless,
        bad_upstream.endless_chunks,
        bad_upstream.reset,
        bad_upstream.halfway(body, bad_upstream.reset),
        bad_upstream.truncated(body),
        bad_upstream.truncated_without_length(body),
        bad_upstream.truncated_chunks(body),
        bad_upstream.longer_than_promised(body),
        bad_upstream.gzipped(body),
        named("page", file(PAGE)),
    ]
    if request.path.startswith("/dl/"):
        faults += [
            named("other-bytes", file(bytes(len(body)))),
            named("cut", file(body[:-1])),
        ]
    if "if-none-match" in request.headers:  # only a mirror that has the checksums can notice this
        faults.append(named("changed-checksums", file(CHECKSUM.sub(b'"cksum":"00000000', body))))
    return faults
