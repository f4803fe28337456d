"""Behaviours of an upstream that are faults, whatever a client requests."""

from tests.support import bad_upstream
from tests.support.bad_upstream import Behaviour

BODY = bad_upstream.line("demo", "1.0.0", b"the bytes of a crate")

SLOW: list[Behaviour] = [
    bad_upstream.hang,
    bad_upstream.dripping_head,
    bad_upstream.dripping_body,
    bad_upstream.endless,
    bad_upstream.endless_chunks,
]
BROKEN: list[Behaviour] = [
    bad_upstream.reset,
    bad_upstream.not_http,
    bad_upstream.truncated(BODY),
    bad_upstream.refusal(500),
    bad_upstream.refusal(429),
    bad_upstream.redirect("//example.invalid/elsewhere"),
    bad_upstream.redirect("file:///etc/passwd"),
    bad_upstream.redirect_to_itself,
    bad_upstream.redirect(""),
    bad_upstream.redirect("http://["),
    bad_upstream.file(b"", 206),
    bad_upstream.truncated_chunks(BODY),
]
