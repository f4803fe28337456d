"""An upstream that fails now and then: which of its answers are bad, and how, a seed decides."""

import re
from collections import Counter
from random import Random

from tests.support import bad_upstream
from tests.support.bad_upstream import (
    BadUpstream,
    Behaviour,
    Request,
    crate_path,
    entry_path,
    file,
    line,
    named,
    refusal,
)

SHARE = 0.3  # of the answers
SIZES = (10, 1_000, 20_000, 300_000)  # bytes of a crate
CHECKSUM = re.compile(rb'"cksum":"[0-9a-f]{8}')
PAGE = b"<html><body>We are being repaired.</body></html>\n"


class FaultyUpstream(BadUpstream):
    """`count` crates of `versions` versions each, which become more; a `share` of the answers are faults."""

    def __init__(self, port: int, seed: int, count: int, versions: int) -> None:
        super().__init__(port)
        self.seed, self.share = seed, SHARE
        self.files: dict[tuple[str, str], bytes] = {}  # by crate and version
        self.editions: dict[str, list[bytes]] = {}  # of each crate's index file, the newest last
        self.whole: dict[str, bytes] = {}  # what is good, by its path
        self.turns: Counter[str] = Counter()
        self.faults: Counter[str] = Counter()
        dice = Random(seed)
        for number in range(count):
            for _ in range(versions):
                self.publish_next(f"faulty{number:03}", dice)

    def publish_next(self, name: str, dice: Random) -> None:
        """Another version of a crate."""
        editions = self.editions.setdefault(name, [])
        version, content = f"1.{len(editions)}.0", dice.randbytes(dice.choice(SIZES))
        body = b"".join([*editions[-1:], line(name, version, content), b"\n"])
        self.files[name, version] = self.whole[crate_path(name, version)] = content
        self.tell_crate(name, version, file(content))
        editions.append(body)
        self.whole[entry_path(name)] = body
        self.tell_entry(name, file(body, ETag=f'"{version}"'))

    def chosen(self, request: Request) -> Behaviour:
        good = super().chosen(request)
        with self.lock:
            self.turns[request.path] += 1
            dice = Random(f"{self.seed} {request.path} {self.turns[request.path]}")
            if dice.random() >= self.share:
                return good
            fault = dice.choice(_faults(request, self.whole.get(request.path, b"not here")))
            self.faults[fault.__name__] += 1
            return fault


def _faults(request: Request, body: bytes) -> list[Behaviour]:
    """All that can be wrong with an answer whose body should be this."""
    faults = [
        *(refusal(status) for status in (404, 429, 500, 503)),
        bad_upstream.nothing_new,
        bad_upstream.no_http,
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
        bad_upstream.longer_than_told(body),
        bad_upstream.packed(body),
        named("page", file(PAGE)),
    ]
    if request.path.startswith("/dl/"):
        faults += [
            named("other-bytes", file(bytes(len(body)))),
            named("cut", file(body[:-1])),
        ]
    if "if-none-match" in request.headers:  # whoever has seen the checksums knows better
        faults.append(named("changed-checksums", file(CHECKSUM.sub(b'"cksum":"00000000', body))))
    return faults
