"""A certificate authority of one run, and its certificate for this machine's loopback address."""

import subprocess
from dataclasses import dataclass
from pathlib import Path

from benchmarks.programs import path_of

KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
DAYS = ("-days", "2")


@dataclass(frozen=True)
class Certificate:
    """PEM files: the chain of a server, its private key, and the authority that a client trusts."""

    chain: Path
    key: Path
    authority: Path


def create(directory: Path) -> Certificate:
    """Create an authority and a certificate by it in an existing directory."""
    authority, authority_key = directory / "ca.pem", directory / "ca.key"
    chain, key, request, names = (directory / name for name in ("server.pem", "server.key", "server.csr", "names"))
    names.write_text("subjectAltName=IP:127.0.0.1,DNS:localhost\n")
    _openssl(
        "req", "-x509", *KEY, *DAYS, "-subj", "/CN=benchmark authority", "-keyout", authority_key, "-out", authority
    )
    _openssl("req", *KEY, "-subj", "/CN=localhost", "-keyout", key, "-out", request)
    signer = ("-CA", authority, "-CAkey", authority_key, "-CAcreateserial")
    _openssl("x509", "-req", *DAYS, *signer, "-in", request, "-extfile", names, "-out", chain)
    return Certificate(chain, key, authority)


def _openssl(*arguments: str | Path) -> None:
    subprocess.run([path_of("openssl"), *arguments], check=True, capture_output=True)
