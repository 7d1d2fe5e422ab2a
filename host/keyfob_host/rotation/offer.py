"""Offers of a new identity: made, signed, and cut into what a board takes.

The form of an offer and of a chunk is told in ``firmware/keyfob/rotation.py``. An offer is
signed by the CA whose key the board can check: its trust anchor, or the intermediate in its
chain. A private key is never part of one. Not judged here: whether the board's broker would
take the certificate; the board tries that.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding
from cryptography.hazmat.primitives.serialization import Encoding

from keyfob_host.errors import ExitStatus, KeyfobHostError
from keyfob_host.pki.identity import Issued
from keyfob_host.pki.keys import PrivateKey
from keyfob_host.provision.identity import MAX_CERTIFICATES, MAX_FILE_BYTES

CONTEXT = b"keyfob identity 1\n"


@dataclass(frozen=True)
class Offer:
    """``files``: name (``ca.der``, ``cert1.der`` …) to content. ``payload``: as it is sent."""

    device_id: str
    created_s: int
    files: dict[str, bytes]
    payload: bytes

    def chunk(self, name: str, offset: int, limit: int) -> bytes:
        """The message with what of ``name`` begins at ``offset``, of ``limit`` bytes at most."""
        head = f"chunk {self.created_s} {name} {offset}\n".encode()
        return head + self.files[name][offset : offset + limit - len(head)]


def make_offer(device_id: str, files: dict[str, bytes], key: PrivateKey, created_s: int) -> Offer:
    """An offer of ``files``, signed by ``key``."""
    manifest = {
        "device_id": device_id,
        "created_s": created_s,
        "files": {
            name: [len(content), hashlib.sha256(content).hexdigest()]
            for name, content in files.items()
        },
    }
    text = json.dumps(manifest, separators=(",", ":")).encode()
    signature = base64.b64encode(_sign(key, CONTEXT + text))
    return Offer(device_id, created_s, files, b"offer " + signature + b"\n" + text)


def certificate_files(issued: Issued) -> dict[str, bytes]:
    """The files of a new certificate with its intermediates. Errors: ``rotate.too-many``,
    ``rotate.file-too-large``."""
    return _named("cert", issued.chain_der())


def anchor_files(anchors: Sequence[x509.Certificate]) -> dict[str, bytes]:
    """The files of a whole new set of trust anchors. Errors: ``rotate.not-a-ca`` and those
    of `certificate_files`."""
    for cert in anchors:
        try:
            basic = cert.extensions.get_extension_for_class(x509.BasicConstraints).value
        except (x509.ExtensionNotFound, ValueError):
            basic = None
        if basic is None or not basic.ca:
            raise KeyfobHostError(
                "rotate.not-a-ca",
                "a trust anchor must be a CA's certificate",
                evidence=f"{cert.subject.rfc4514_string()}: basic constraints without CA:TRUE",
                fix="keyfob cert show FILE, to see what is in the file",
                status=ExitStatus.IDENTITY,
            )
    return _named("ca", [one.public_bytes(Encoding.DER) for one in anchors])


def _named(stem: str, contents: Sequence[bytes]) -> dict[str, bytes]:
    if not 0 < len(contents) <= MAX_CERTIFICATES:
        raise KeyfobHostError(
            "rotate.too-many",
            f"a board keeps 1 to {MAX_CERTIFICATES} certificates of a kind",
            evidence=f"{len(contents)} for {stem}.der",
            fix="leave out those that no broker and no board needs any more",
            status=ExitStatus.IDENTITY,
        )
    for content in contents:
        if len(content) > MAX_FILE_BYTES:
            raise KeyfobHostError(
                "rotate.file-too-large",
                "a certificate is larger than a board reads",
                evidence=f"{len(content)} bytes, at most {MAX_FILE_BYTES}",
                fix="issue it with fewer names, or with a smaller key",
                status=ExitStatus.IDENTITY,
            )
    return {f"{stem}{number or ''}.der": content for number, content in enumerate(contents)}


def _sign(key: PrivateKey, data: bytes) -> bytes:
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return key.sign(data, ec.ECDSA(hashes.SHA256()))
    return key.sign(data, padding.PKCS1v15(), hashes.SHA256())
