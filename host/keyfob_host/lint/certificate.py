"""A certificate as it stands, right or wrong: RFC 5280 section 4.1.

Nothing is refused: what is not as it should be is among ``defects``, and a certificate of
which nothing can be read has ``is_readable`` False and its other fields empty.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import cached_property

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm

from keyfob_host.lint.algorithms import PublicKey, is_signed, read_public_key
from keyfob_host.lint.der import SEQUENCE, Defect, Element, MalformedError, Walk
from keyfob_host.lint.extensions import Extensions, extension_name, read_extensions
from keyfob_host.lint.names import Name, read_name
from keyfob_host.lint.times import Time, read_time

_VERSION, _EXTENSIONS, _UNIQUE_IDS = 0xA0, 0xA3, (0x81, 0x82)
_MAX_EXTENSIONS = 32
_NOT_LOADED = (
    ValueError,
    UnsupportedAlgorithm,
    x509.DuplicateExtension,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
)


@dataclass
class Certificate:
    """``serial``: the INTEGER's content. ``tbs``, ``spki``: DER, as it stands."""

    der: bytes
    defects: list[Defect] = field(default_factory=list)
    is_readable: bool = False
    version: int = 1
    serial: bytes = b""
    issuer: Name = field(default_factory=Name)
    subject: Name = field(default_factory=Name)
    not_before: Time = field(default_factory=lambda: Time("", None))
    not_after: Time = field(default_factory=lambda: Time("", None))
    spki: bytes = b""
    key: PublicKey = field(default_factory=lambda: PublicKey("?"))
    extensions: Extensions = field(default_factory=Extensions)
    tbs: bytes = b""
    algorithm: str = ""
    signature: bytes = b""

    @property
    def is_ca(self) -> bool:
        """CA:TRUE."""
        return bool(self.extensions.is_ca)

    @property
    def is_self_issued(self) -> bool:
        """Subject and issuer are one name."""
        return self.subject.is_like(self.issuer)

    @cached_property
    def is_self_signed(self) -> bool:
        """Self-issued, and signed by its own key (or nobody can tell)."""
        return self.is_self_issued and self.is_signed_by(self) is not False

    @property
    def title(self) -> str:
        """How a person finds it: its subject, or its serial number where that is empty."""
        return str(self.subject) if self.subject.attributes else f"serial {self.serial.hex()}"

    @property
    def sha256(self) -> str:
        """Its fingerprint, hex."""
        return hashlib.sha256(self.der).hexdigest()

    def is_signed_by(self, issuer: Certificate) -> bool | None:
        """By ``issuer``'s key; names are not looked at. None where nobody can tell."""
        return is_signed(self.der, self.tbs, self.algorithm, self.signature, issuer.spki)


def read_certificate(der: bytes) -> Certificate:
    """Raises nothing."""
    walk = Walk(der)
    found = Certificate(der, walk.defects)
    try:
        _read(walk, found)
        found.is_readable = True
    except MalformedError as error:
        walk.defects.append(error.defect)
    if not found.defects:
        _ask_the_library(found)
    return found


def _read(walk: Walk, found: Certificate) -> None:
    parts = walk.children(walk.top())
    if len(parts) != 3:
        raise MalformedError(0, f"{len(parts)} parts, a certificate has 3")
    tbs, outer, signature = parts
    found.tbs = walk.whole(walk.expect(tbs, SEQUENCE))
    found.algorithm = _algorithm(walk, outer)
    found.signature = walk.bits(signature)
    fields = walk.children(tbs)
    if fields and fields[0].tag == _VERSION:
        (number,) = walk.children(fields.pop(0))[:1] or [tbs]
        found.version = walk.integer(number) + 1
    if len(fields) < 6:
        raise MalformedError(tbs.start, f"{len(fields)} fields, a certificate has 6 or more")
    found.serial = walk.content(fields[0])
    walk.integer(fields[0])
    if walk.whole(fields[1]) != walk.whole(outer):
        inside = _algorithm(walk, fields[1])
        walk.note(
            fields[1].start, f"algorithm {inside} inside, {found.algorithm} outside, want one"
        )  # fmt: skip
    found.issuer = read_name(walk, fields[2])
    dates = walk.children(walk.expect(fields[3], SEQUENCE))
    if len(dates) != 2:
        raise MalformedError(fields[3].start, f"validity of {len(dates)} dates, want 2")
    found.not_before, found.not_after = (read_time(walk, date) for date in dates)
    found.subject = read_name(walk, fields[4])
    found.spki = walk.whole(fields[5])
    found.key = read_public_key(walk, fields[5])
    _read_extensions(walk, found, fields[6:])


def _algorithm(walk: Walk, element: Element) -> str:
    parts = walk.children(walk.expect(element, SEQUENCE))
    if not parts:
        raise MalformedError(element.start, "an algorithm without identifier")
    return walk.oid(parts[0])


def _read_extensions(walk: Walk, found: Certificate, fields: list[Element]) -> None:
    while fields and fields[0].tag in _UNIQUE_IDS and found.version > 1:
        fields.pop(0)
    if not fields:
        return
    if fields[0].tag != _EXTENSIONS or len(fields) > 1:
        walk.note(fields[0].start, f"tag {fields[0].tag:02x}, want the extensions and no more")
        return
    if found.version < 3:
        walk.note(fields[0].start, f"extensions in version {found.version}, which has none")
    elements = [each for listed in walk.children(fields[0])[:1] for each in walk.children(listed)]
    if not elements or len(elements) > _MAX_EXTENSIONS:
        walk.note(fields[0].start, f"{len(elements)} extensions, want 1 to {_MAX_EXTENSIONS}")
    found.extensions = read_extensions(walk, elements)


def duplicates(found: Certificate) -> list[str]:
    """Extensions that are there more than once (RFC 5280 section 4.2)."""
    oids = [oid for oid, _ in found.extensions.all]
    return [extension_name(oid) for oid in dict.fromkeys(oids) if oids.count(oid) > 1]


def _ask_the_library(found: Certificate) -> None:
    """Keyfob loads certificates with `cryptography`: what that refuses is of no use to it."""
    dates = found.not_before.wrong or found.not_after.wrong
    if found.version != 3 or duplicates(found) or dates:
        return  # told by rules of their own, which it would only repeat
    try:
        loaded = x509.load_der_x509_certificate(found.der)
        _ = (loaded.subject, loaded.issuer, loaded.extensions, loaded.version)
    except _NOT_LOADED as error:
        text = (str(error).splitlines() or [type(error).__name__])[0]
        found.defects.append(Defect(0, f"Keyfob cannot load it: {text[:160]}"))
