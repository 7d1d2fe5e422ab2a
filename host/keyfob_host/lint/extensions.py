"""The extensions that verifiers act on, decoded: RFC 5280 section 4.2.1.

What is not as that section says becomes a defect. Other extensions are kept as they
stand; their inside is not looked at.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from keyfob_host.lint.der import (
    BIT_STRING,
    BOOLEAN,
    INTEGER,
    OCTET_STRING,
    SEQUENCE,
    Defect,
    Element,
    MalformedError,
    Walk,
)
from keyfob_host.lint.names import DNS, IP, MAIL, URI, has_empty_label

SUBJECT_KEY_ID, KEY_USAGE, SAN = "2.5.29.14", "2.5.29.15", "2.5.29.17"
BASIC_CONSTRAINTS, NAME_CONSTRAINTS = "2.5.29.19", "2.5.29.30"
AUTHORITY_KEY_ID, EXTENDED_KEY_USAGE = "2.5.29.35", "2.5.29.37"
KNOWN_NAMES = {
    SUBJECT_KEY_ID: "subject key identifier", KEY_USAGE: "key usage",
    SAN: "subject alternative name", BASIC_CONSTRAINTS: "basic constraints",
    NAME_CONSTRAINTS: "name constraints", AUTHORITY_KEY_ID: "authority key identifier",
    EXTENDED_KEY_USAGE: "extended key usage", "2.5.29.18": "issuer alternative name",
    "2.5.29.31": "CRL distribution points", "2.5.29.32": "certificate policies",
    "2.5.29.33": "policy mappings", "2.5.29.36": "policy constraints",
    "2.5.29.54": "inhibit any-policy",
}  # fmt: skip
# Bits of the key usage, by their number.
DIGITAL_SIGNATURE, KEY_ENCIPHERMENT, KEY_AGREEMENT, KEY_CERT_SIGN, CRL_SIGN = 0, 2, 4, 5, 6
USAGE_NAMES = (
    "digitalSignature", "contentCommitment", "keyEncipherment", "dataEncipherment",
    "keyAgreement", "keyCertSign", "cRLSign", "encipherOnly", "decipherOnly",
)  # fmt: skip
_GENERAL_NAMES = (0x81, DNS, URI, IP, 0x88, 0xA0, 0xA3, 0xA4, 0xA5)
_PATH_LENGTH_LIMIT = 0xFFFF

GeneralName = tuple[int, bytes]


@dataclass
class Extensions:
    """Of one certificate; what it has not is None. ``all``: (OID, whether critical)."""

    all: list[tuple[str, bool]] = field(default_factory=list)
    is_ca: bool | None = None
    path_length: int | None = None
    key_usage: frozenset[int] | None = None
    purposes: tuple[str, ...] | None = None
    sans: tuple[GeneralName, ...] | None = None
    key_id: bytes | None = None
    authority_key_id: bytes | None = None
    authority_serial: bytes | None = None
    permitted: tuple[GeneralName, ...] = ()
    excluded: tuple[GeneralName, ...] = ()

    def criticality(self, oid: str) -> bool | None:
        """Whether it is critical, None where it is not there."""
        return dict(self.all).get(oid)


def extension_name(oid: str) -> str:
    """For people."""
    return f"{KNOWN_NAMES[oid]} ({oid})" if oid in KNOWN_NAMES else oid


def read_extensions(walk: Walk, elements: list[Element]) -> Extensions:
    """All of them. One that cannot be read is a defect, and is left out.

    Errors: `MalformedError` where the list itself cannot be read.
    """
    found = Extensions()
    for element in elements:
        parts = walk.children(walk.expect(element, SEQUENCE))
        oid = walk.oid(parts[0]) if parts else "?"
        is_critical = len(parts) == 3 and walk.boolean(parts[1])
        if len(parts) not in (2, 3) or parts[-1].tag != OCTET_STRING:
            raise MalformedError(element.start, f"extension {oid} of {len(parts)} parts")
        found.all.append((oid, is_critical))
        value = parts[-1]
        reader = _READERS.get(oid)
        if reader is None:
            continue
        try:
            inner = walk.element(value.at, value.end)
            reader(walk, inner, found)
            if inner.end < value.end:
                walk.note(inner.end, f"{value.end - inner.end} bytes behind {extension_name(oid)}")
        except MalformedError as error:
            what = f"{extension_name(oid)}: {error.defect.what}"
            walk.defects.append(Defect(error.defect.offset, what))
    return found


def _basic_constraints(walk: Walk, value: Element, found: Extensions) -> None:
    parts = walk.children(walk.expect(value, SEQUENCE))
    found.is_ca = bool(parts) and parts[0].tag == BOOLEAN and walk.boolean(parts.pop(0))
    if parts and parts[0].tag == INTEGER:
        length = walk.integer(parts.pop(0))
        if not found.is_ca:
            walk.note(value.start, f"a path length of {length} without CA:TRUE")
        elif not 0 <= length <= _PATH_LENGTH_LIMIT:
            walk.note(value.start, f"a path length of {length}")
        else:
            found.path_length = length
    if parts:
        walk.note(parts[0].start, "basic constraints with parts of their own")


def _key_usage(walk: Walk, value: Element, found: Extensions) -> None:
    content = walk.content(walk.expect(value, BIT_STRING))
    if not 2 <= len(content) <= 3 or content[0] > 7:
        raise MalformedError(value.start, f"a bit list of {len(content)} bytes")
    last = content[-1] & ((2 << content[0]) - 1)
    if last != 1 << content[0]:
        walk.note(value.start, f"bits {content.hex()} end with one that is not set")
    bits = range(8 * (len(content) - 1))
    found.key_usage = frozenset(n for n in bits if content[1 + n // 8] >> 7 - n % 8 & 1)


def _extended_key_usage(walk: Walk, value: Element, found: Extensions) -> None:
    found.purposes = tuple(
        walk.oid(each) for each in walk.children(walk.expect(value, SEQUENCE))
    )  # fmt: skip
    if not found.purposes:
        walk.note(value.start, "extended key usage without one")


def _alternative_names(walk: Walk, value: Element, found: Extensions) -> None:
    names = [_general_name(walk, each) for each in walk.children(walk.expect(value, SEQUENCE))]
    for tag, content in names:
        if tag == IP and len(content) not in (4, 16):
            walk.note(value.start, f"an address of {len(content)} bytes, want 4 or 16")
    if not names:
        walk.note(value.start, "subject alternative name without one")
    found.sans = tuple(names)


def _general_name(walk: Walk, element: Element) -> GeneralName:
    content = walk.content(element)
    if element.tag not in _GENERAL_NAMES:
        raise MalformedError(element.start, f"tag {element.tag:02x}, want a GeneralName")
    if element.tag in (MAIL, DNS, URI) and not content.isascii():
        walk.note(element.start, f"a name of 8 bits, {content[:32]!r}, want ASCII (IA5String)")
    return element.tag, content


def _subject_key_id(walk: Walk, value: Element, found: Extensions) -> None:
    found.key_id = walk.content(walk.expect(value, OCTET_STRING))


def _authority_key_id(walk: Walk, value: Element, found: Extensions) -> None:
    parts = {
        part.tag: walk.content(part) for part in walk.children(walk.expect(value, SEQUENCE))
    }  # fmt: skip
    found.authority_key_id = parts.get(0x80)
    found.authority_serial = parts.get(0x82)
    if (0xA1 in parts) != (0x82 in parts):
        walk.note(value.start, "authority key identifier with issuer or serial number alone")
    if set(parts) - {0x80, 0xA1, 0x82}:
        walk.note(value.start, "authority key identifier with parts of its own")


def _name_constraints(walk: Walk, value: Element, found: Extensions) -> None:
    parts = {part.tag: part for part in walk.children(walk.expect(value, SEQUENCE))}
    if not parts or set(parts) - {0xA0, 0xA1}:
        walk.note(value.start, "name constraints without one, or with parts of their own")
    found.permitted = _subtrees(walk, parts.get(0xA0))
    found.excluded = _subtrees(walk, parts.get(0xA1))


def _subtrees(walk: Walk, parent: Element | None) -> tuple[GeneralName, ...]:
    if parent is None:
        return ()
    found = []
    for subtree in walk.children(parent):
        parts = walk.children(walk.expect(subtree, SEQUENCE))
        if len(parts) != 1:
            walk.note(subtree.start, "a name constraint of more than its base")
        if parts:
            found.append(_general_name(walk, parts[0]))
            _check_base(walk, parts[0], *found[-1])
    if not found:
        walk.note(parent.start, "a list of name constraints without one")
    return tuple(found)


def _check_base(walk: Walk, element: Element, tag: int, base: bytes) -> None:
    if tag == DNS and (b"*" in base or has_empty_label(base.removeprefix(b"."))):
        walk.note(element.start, f"DNS name {base[:64]!r}, which would constrain nothing")
    if tag != IP:
        return
    half = len(base) // 2
    mask = int.from_bytes(base[half:], "big") ^ ((1 << 8 * half) - 1)
    if len(base) not in (8, 32) or mask & (mask + 1):
        walk.note(element.start, f"address and mask {base.hex()}, want ones before zeros")


_READERS = {
    BASIC_CONSTRAINTS: _basic_constraints,
    KEY_USAGE: _key_usage,
    EXTENDED_KEY_USAGE: _extended_key_usage,
    SAN: _alternative_names,
    SUBJECT_KEY_ID: _subject_key_id,
    AUTHORITY_KEY_ID: _authority_key_id,
    NAME_CONSTRAINTS: _name_constraints,
}
