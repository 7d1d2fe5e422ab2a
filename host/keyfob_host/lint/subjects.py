"""What rules are asked about: a file, a certificate in its place, a key, a chain, a list."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from keyfob_host.lint.certificate import Certificate
from keyfob_host.lint.finding import Judged
from keyfob_host.lint.private_keys import KeyFacts
from keyfob_host.lint.reading import FileRead

# What a file is for: known from the folder or the configuration that names it.
Use = Literal["chain", "certificate", "anchors", "key", "crl", "request", "any"]


@dataclass(frozen=True)
class FileSubject(Judged):
    """``use``: what it is for. ``is_brokers``: mosquitto reads it as it stands."""

    read: FileRead
    use: Use
    is_brokers: bool


@dataclass(frozen=True)
class CertificateSubject(Judged):
    """``is_anchor``: it is among trust anchors, where nobody looks at its own signature."""

    cert: Certificate
    is_anchor: bool


@dataclass(frozen=True)
class KeySubject(Judged):
    """``certificates``: those one of which the key should be of, with their places."""

    key: KeyFacts
    mode: int | None
    is_der: bool
    certificates: tuple[Certificate, ...]


@dataclass(frozen=True)
class RequestSubject(Judged):
    """A certificate request in DER."""

    der: bytes


@dataclass(frozen=True)
class ChainSubject(Judged):
    """``sent``: the file's certificates in its order, the end-entity's among them.

    ``path``: from the end-entity upwards as far as it goes. ``is_complete``: it ends with
    a trust anchor or a self-signed certificate. ``anchors``: those there are. ``others``:
    certificates of other files. ``needs_anchor``: a path that ends at none of them is broken.
    ``is_stored``: a board keeps it.
    """

    sent: tuple[Certificate, ...]
    path: tuple[Certificate, ...]
    is_complete: bool
    anchors: tuple[Certificate, ...]
    others: tuple[Certificate, ...]
    needs_anchor: bool
    is_stored: bool


@dataclass(frozen=True)
class CrlSubject(Judged):
    """``authorities``: certificates one of which should have signed it. ``beside``: every list
    of the group, this one included."""

    der: bytes
    authorities: tuple[Certificate, ...]
    beside: tuple[bytes, ...] = ()


@dataclass(frozen=True)
class ListedSubject(Judged):
    """A certificate, and a revocation list that may have it."""

    der: bytes
    cert: Certificate
