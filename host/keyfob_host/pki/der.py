"""DER and PEM written by hand, for the two structures that the library does not write."""

from __future__ import annotations

import base64

SEQUENCE, INTEGER, OCTET_STRING = 0x30, 0x02, 0x04
UTF8_STRING, VISIBLE_STRING = 0x0C, 0x1A
NULL = b"\x05\x00"


def tlv(tag: int, content: bytes) -> bytes:
    """Tag, length in the shortest form (X.690 section 10.1), content."""
    size = len(content)
    if size < 0x80:
        return bytes((tag, size)) + content
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(length))) + length + content


def sequence(*parts: bytes) -> bytes:
    return tlv(SEQUENCE, b"".join(parts))


def integer(value: int) -> bytes:
    """A value of 0 or more."""
    return tlv(INTEGER, value.to_bytes(value.bit_length() // 8 + 1, "big"))


def pem(label: str, content: bytes) -> bytes:
    """RFC 7468, strict form: lines of 64 characters."""
    text = base64.b64encode(content).decode()
    lines = [text[start : start + 64] for start in range(0, len(text), 64)]
    return "\n".join([f"-----BEGIN {label}-----", *lines, f"-----END {label}-----", ""]).encode()
