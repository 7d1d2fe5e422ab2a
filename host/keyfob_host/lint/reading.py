"""A file taken apart into certificates, keys, requests and revocation lists.

PEM (RFC 7468) or DER. What is wrong with the form of the file is noted by its code, and
what can be read is read. Whether a file holds what it is for is judged elsewhere.
"""

from __future__ import annotations

import base64
import binascii
import re
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from keyfob_host.files import read_bounded
from keyfob_host.lint.der import BIT_STRING, INTEGER, SEQUENCE, MalformedError, Walk
from keyfob_host.lint.private_keys import IN_TOKEN, form_of

Kind = Literal["certificate", "key", "request", "crl", "public key", "other"]
_LABELS: dict[str, tuple[Kind, str]] = {
    "CERTIFICATE": ("certificate", ""),
    "X509 CERTIFICATE": ("certificate", ""),
    "TRUSTED CERTIFICATE": ("certificate", ""),
    "CERTIFICATE REQUEST": ("request", ""),
    "NEW CERTIFICATE REQUEST": ("request", ""),
    "X509 CRL": ("crl", ""),
    "PRIVATE KEY": ("key", "PKCS#8"),
    "ENCRYPTED PRIVATE KEY": ("key", "PKCS#8, encrypted"),
    "EC PRIVATE KEY": ("key", "SEC 1"),
    "RSA PRIVATE KEY": ("key", "PKCS#1"),
    "PKCS#11 PROVIDER URI": ("key", IN_TOKEN),
    "PUBLIC KEY": ("public key", ""),
}
_IGNORED_LABELS = ("EC PARAMETERS", "DH PARAMETERS")
_BEGIN = re.compile(rb"-----BEGIN ([^\r\n-]{1,60})-----")
_BOMS = {b"\xef\xbb\xbf": "UTF-8", b"\xff\xfe": "UTF-16", b"\xfe\xff": "UTF-16"}
_HEADER_LINE = re.compile(rb"[A-Za-z-]+:.*")
_MAX_WORD = 12
_MAX_BLOCKS = 500


@dataclass(frozen=True)
class Item:
    """One thing of a file. ``number``: its place among those of its file, from 1 on.
    ``form``: of a key, as its PEM label says. ``header``: a PEM block's own lines."""

    kind: Kind
    der: bytes
    number: int
    form: str = ""
    header: bytes = b""
    label: str = ""


@dataclass
class FileRead:
    """``troubles``: (code, evidence) of what is wrong with the form. ``mode``: permissions,
    None for what is no regular file."""

    path: Path
    size: int = 0
    mode: int | None = None
    is_pem: bool = False
    items: list[Item] = field(default_factory=list)
    troubles: list[tuple[str, str]] = field(default_factory=list)

    def of_kind(self, kind: Kind) -> list[Item]:
        """Its items of that kind."""
        return [item for item in self.items if item.kind == kind]


def read_file(path: Path) -> FileRead:
    """Errors: `KeyfobHostError` ``file.*`` for what cannot be opened or is too large."""
    content = read_bounded(path, "read the file to check")
    found = FileRead(path, len(content))
    try:
        mode = path.stat().st_mode
        found.mode = stat.S_IMODE(mode) if stat.S_ISREG(mode) else None
    except OSError:
        found.mode = None
    take_apart(content, found)
    return found


def take_apart(content: bytes, found: FileRead) -> None:
    """Fill in what ``content`` holds. Raises nothing."""
    if not content.strip():
        found.troubles.append(("lint.empty", f"{len(content)} bytes"))
        return
    for mark, name in _BOMS.items():
        if content.startswith(mark):
            code = "lint.bom" if name == "UTF-8" else "lint.utf-16"
            found.troubles.append((code, f"begins with {mark.hex()}, the mark of {name}"))
            content = _without_mark(content, name)
            break
    # DER begins with a SEQUENCE; that byte is the digit 0 of no PEM file.
    if _BEGIN.search(content) and content[:1] != b"\x30":
        found.is_pem = True
        _take_pem(content, found)
    else:
        _take_der(content, found)


def _without_mark(content: bytes, name: str) -> bytes:
    if name == "UTF-8":
        return content[3:]
    return content.decode("utf-16", "replace").encode("ascii", "replace")


def _take_pem(content: bytes, found: FileRead) -> None:
    if b"\r" in content:
        count = content.count(b"\r")
        found.troubles.append(("lint.crlf", f"{count} carriage returns, want line feeds alone"))
    at = 0
    outside = b""
    for count, begin in enumerate(_BEGIN.finditer(content)):
        if begin.start() < at:
            continue
        if count == _MAX_BLOCKS:
            break
        outside += content[at : begin.start()]
        at = _take_block(content, begin, found)
    outside = (outside + content[at:]).strip()
    if outside:
        found.troubles.append(("lint.text-outside", _shown(outside)))


def _take_block(content: bytes, begin: re.Match[bytes], found: FileRead) -> int:
    """Read one block; returns where it ends."""
    label = begin[1].decode("latin-1")
    closing = b"-----END " + begin[1] + b"-----"
    end = content.find(closing, begin.end())
    following = _BEGIN.search(content, begin.end())
    line = content.count(b"\n", 0, begin.start()) + 1
    if end < 0 or (following and following.start() < end):
        upto = following.start() if following else len(content)
        found.troubles.append(("lint.truncated", f"line {line}: BEGIN {label} without its END"))
        return upto
    body = content[begin.end() : end]
    header, body = _split_header(body)
    if label not in _IGNORED_LABELS:
        kind, form = _LABELS.get(label, ("other", ""))
        try:
            der = base64.b64decode(b"".join(body.split()), validate=True)
        except (binascii.Error, ValueError) as error:
            text = f"line {line}: {label}: not base64: {error}"
            found.troubles.append(("lint.pem-broken", text))
        else:
            item = Item(kind, der, len(found.items) + 1, form, header, label)
            found.items.append(item)
            if not der:
                found.troubles.append(("lint.truncated", f"line {line}: {label} of 0 bytes"))
    return end + len(closing)


def _split_header(body: bytes) -> tuple[bytes, bytes]:
    """The lines of RFC 1421 in front, such as ``Proc-Type: 4,ENCRYPTED``."""
    lines = body.strip().splitlines()
    count = 0
    while count < len(lines) and _HEADER_LINE.fullmatch(lines[count]):
        count += 1
    return b"\n".join(lines[:count]), b"\n".join(lines[count:])


def _shown(content: bytes) -> str:
    """How it begins, if that is prose: anything else may be a piece of a key."""
    line = content.split(b"\n", 1)[0].strip()[:60]
    words = line.split()
    if line.isascii() and len(words) > 1 and max(map(len, words)) <= _MAX_WORD:
        return f"{len(content)} bytes, beginning with {line.decode()!r}"
    return f"{len(content)} bytes"


def _take_der(content: bytes, found: FileRead) -> None:
    walk = Walk(content)
    try:
        top = walk.expect(walk.element(0, len(content)), SEQUENCE)
    except MalformedError as error:
        if content[:1] == b"\x30" and len(content) > 1 and content[1] & 0x80:
            found.troubles.append(("lint.truncated", str(error.defect)))
        else:
            found.troubles.append(("lint.not-pem-or-der", _shown(content)))
        return
    der, rest = content[: top.end], content[top.end :]
    if rest.strip(b"\r\n") or len(rest) > 2:
        found.troubles.append(("lint.trailing-bytes", f"{len(rest)} bytes behind the DER"))
    elif rest:
        text = f"{rest!r}: a DER file has no line ends"
        found.troubles.append(("lint.trailing-bytes", text))
    found.items.append(Item(_kind_of(der), der, 1))


def _kind_of(der: bytes) -> Kind:
    """By the shape of what is in the outermost SEQUENCE."""
    if form_of(der):
        return "key"
    walk = Walk(der)
    try:
        parts = walk.children(walk.top())
        tags = [part.tag for part in parts]
        if tags == [SEQUENCE, BIT_STRING]:
            return "public key"
        inner = walk.children(parts[0]) if tags == [SEQUENCE, SEQUENCE, BIT_STRING] else []
    except (MalformedError, IndexError):
        return "certificate" if der[:1] == b"\x30" else "other"
    inside = [part.tag for part in inner]
    if inside[:1] == [0xA0] or inside[:5] == [INTEGER, *[SEQUENCE] * 4]:
        return "certificate"
    if inside[:3] == [INTEGER, SEQUENCE, SEQUENCE] and 0xA0 in inside[3:]:
        return "request"
    if SEQUENCE in inside[:2]:
        return "crl"
    return "other"
