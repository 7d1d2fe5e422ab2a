"""Names in certificates: distinguished names, host names, and whether one is for a host.

RFC 5280 sections 4.1.2.4 and 7.1, RFC 9525 section 6. Unicode is not converted: host and
certificate carry A-labels, or they do not match.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

from keyfob_host.lint.der import OID, SEQUENCE, SET, Element, MalformedError, Walk

DNS, IP, MAIL, URI, DIRECTORY = 0x82, 0x87, 0x81, 0x86, 0xA4
COMMON_NAME = "2.5.4.3"
_SHORT = {
    COMMON_NAME: "CN", "2.5.4.6": "C", "2.5.4.7": "L", "2.5.4.8": "ST", "2.5.4.10": "O",
    "2.5.4.11": "OU", "2.5.4.5": "serialNumber", "1.2.840.113549.1.9.1": "emailAddress",
}  # fmt: skip
_ENCODINGS = {0x1E: "utf-16-be", 0x1C: "utf-32-be", 0x0C: "utf-8"}
_LABEL = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)")
_MAX_NAME = 253


@dataclass(frozen=True)
class Name:
    """A distinguished name. ``der``: as it stands; ``attributes``: (OID, text) of each."""

    der: bytes = b"\x30\x00"
    attributes: tuple[tuple[str, str], ...] = ()

    def __str__(self) -> str:
        parts = [f"{_SHORT.get(oid, oid)}={text}" for oid, text in self.attributes]
        return ", ".join(parts) or "(empty)"

    @property
    def common_name(self) -> str:
        """The last common name, "" without one."""
        return next((text for oid, text in reversed(self.attributes) if oid == COMMON_NAME), "")

    def is_like(self, other: Name) -> bool:
        """Equal but for case and spaces, as OpenSSL compares (RFC 5280 section 7.1)."""
        return self._folded() == other._folded()

    def _folded(self) -> list[tuple[str, str]]:
        return [(oid, " ".join(text.casefold().split())) for oid, text in self.attributes]


def read_name(walk: Walk, element: Element) -> Name:
    """A Name. Errors: `MalformedError`."""
    attributes = []
    for rdn in walk.children(walk.expect(element, SEQUENCE)):
        pairs = walk.children(walk.expect(rdn, SET))
        if not pairs:
            walk.note(rdn.start, "a part of a name without attribute")
        for pair in pairs:
            parts = walk.children(walk.expect(pair, SEQUENCE))
            if len(parts) != 2 or parts[0].tag != OID:
                raise MalformedError(pair.start, "an attribute of a name, want type and value")
            encoding = _ENCODINGS.get(parts[1].tag, "latin-1")
            text = walk.content(parts[1]).decode(encoding, "backslashreplace")
            attributes.append((walk.oid(parts[0]), text))
    return Name(walk.whole(element), tuple(attributes))


def address_of(text: str) -> bytes | None:
    """The 4 or 16 bytes of an IP address, or None."""
    try:
        return ipaddress.ip_address(text).packed
    except ValueError:
        return None


def is_host_name(text: str) -> bool:
    """Letters, digits, hyphens (and underscores, which some hosts have); no IPv4 address."""
    labels = text.split(".")
    fits = all(_LABEL.fullmatch(label) for label in labels)
    return fits and len(text) <= _MAX_NAME and not labels[-1].isdigit()


def has_empty_label(name: bytes) -> bool:
    """Whether no host has the name, because a label of it is empty. No name is none of those."""
    return name != b"" and b"" in name.split(b".")


def is_wildcard_right(pattern: str) -> bool:
    """RFC 9525 section 6.3: the whole first label, and at least two labels behind it."""
    rest = pattern[2:] if pattern.startswith("*.") else ""
    return "." in rest and is_host_name(rest)


def covers(sans: tuple[tuple[int, bytes], ...], host: str) -> bool:
    """Whether one of the subject alternative names is for ``host`` (RFC 9525 section 6)."""
    address = address_of(host)
    if address is not None:
        return (IP, address) in sans
    wanted = host.lower().removesuffix(".")
    patterns = [content.decode("latin-1").lower() for tag, content in sans if tag == DNS]
    return is_host_name(wanted) and any(_matches(pattern, wanted) for pattern in patterns)


def _matches(pattern: str, host: str) -> bool:
    if pattern == host:
        return True
    return is_wildcard_right(pattern) and host.partition(".")[2] == pattern[2:]


def general_name_text(tag: int, content: bytes) -> str:
    """A GeneralName, or the base of a name constraint."""
    if tag == IP and len(content) in (4, 16):
        return f"IP:{ipaddress.ip_address(content)}"
    if tag == IP and len(content) in (8, 32):
        half = len(content) // 2
        return f"IP:{ipaddress.ip_address(content[:half])}/{content[half:].hex()}"
    kinds = {DNS: "DNS", MAIL: "email", URI: "URI", DIRECTORY: "directory"}
    if tag in (DNS, MAIL, URI):
        return f"{kinds[tag]}:{content.decode('latin-1')}"
    return f"{kinds.get(tag, f'form {tag & 0x1F}')}:{content[:32].hex()}"


def sans_text(sans: tuple[tuple[int, bytes], ...] | None) -> str:
    """All of them, the first eight."""
    shown = [general_name_text(*one) for one in (sans or ())[:8]]
    return ", ".join(shown) + (" …" if len(sans or ()) > 8 else "") or "none"
