"""A passkey in software: it answers the options of a page as a browser with an authenticator does."""

import hashlib
import html
import json
import re
import secrets
from typing import Any

import cbor2
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from webauthn.helpers import bytes_to_base64url as text_of

PRESENT, VERIFIED, HAS_KEY = 0x01, 0x04, 0x40


class SoftwarePasskey:
    def __init__(self, origin: str = "http://registry.localhost", rp_id: str = "registry.localhost") -> None:
        self.origin, self.rp_id = origin, rp_id
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.id = secrets.token_bytes(16)
        self.count = 0

    def create(self, options: dict[str, Any]) -> str:
        """Return the answer to the options for a new passkey."""
        numbers = self.key.public_key().public_numbers()
        public_key = cbor2.dumps(
            {1: 2, 3: -7, -1: 1, -2: numbers.x.to_bytes(32, "big"), -3: numbers.y.to_bytes(32, "big")}
        )
        key_data = bytes(16) + len(self.id).to_bytes(2, "big") + self.id + public_key
        attestation = {"fmt": "none", "attStmt": {}, "authData": self.data(PRESENT | VERIFIED | HAS_KEY) + key_data}
        client_data = self.client_data("webauthn.create", options)
        return self.answer(
            clientDataJSON=client_data, attestationObject=cbor2.dumps(attestation), transports=["internal", "warp"]
        )

    def get(self, options: dict[str, Any]) -> str:
        """Return the answer to the options for the use of a passkey."""
        self.count += 1
        data, client_data = self.data(PRESENT), self.client_data("webauthn.get", options)
        signature = self.key.sign(data + hashlib.sha256(client_data).digest(), ec.ECDSA(hashes.SHA256()))
        return self.answer(clientDataJSON=client_data, authenticatorData=data, signature=signature)

    def data(self, flags: int) -> bytes:
        return hashlib.sha256(self.rp_id.encode()).digest() + bytes([flags]) + self.count.to_bytes(4, "big")

    def client_data(self, kind: str, options: dict[str, Any]) -> bytes:
        data = {"type": kind, "challenge": options["challenge"], "origin": self.origin, "crossOrigin": False}
        return json.dumps(data).encode()

    def answer(self, **response: Any) -> str:
        parts = {name: text_of(part) if isinstance(part, bytes) else part for name, part in response.items()}
        key = text_of(self.id)
        return json.dumps({"id": key, "rawId": key, "type": "public-key", "response": parts})


def ceremony_of(page: str) -> tuple[dict[str, Any], str]:
    """Return the options and the signed challenge of the form on a page."""
    options = re.search(r'data-options="([^"]+)"', page)
    challenge = re.search(r'name="challenge" value="([^"]+)"', page)
    assert options
    assert challenge
    return json.loads(html.unescape(options[1])), challenge[1]
