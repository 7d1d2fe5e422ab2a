"""What a connection's first bytes are: TLS, MQTT in clear, HTTP, or something else.

For the ports that get mixed up. MQTT 3.1.1 section 3.1 and 5.0 section 3.1, SSL 2.0's
ClientHello (RFC 5246 appendix E.2), first lines of HTTP (RFC 9112) and of a few others. Only
the kind is told: nothing that stands in the bytes goes further.
"""

from __future__ import annotations

from keyfob_host.doctor.tls_numbers import CHANGE_CIPHER_SPEC, HEARTBEAT

TLS = "TLS"
PLAIN_MQTT = "MQTT in clear"
HTTP = "HTTP"
MOST_BYTES = 16  # with these it is always decided

_LARGEST_RECORD = (1 << 14) + 2048
_CONNECT, _CONNACK = 0x10, 0x20
_WORDS = {
    b"GET ": HTTP, b"POST ": HTTP, b"PUT ": HTTP, b"HEAD ": HTTP, b"OPTIONS ": HTTP,
    b"CONNECT ": HTTP, b"HTTP/": HTTP, b"PRI * HTTP/2": HTTP, b"SSH-": "SSH",
    b"220 ": "a greeting of SMTP or FTP", b"PROXY ": "a PROXY protocol header",
    b"\r\n\r\n\0\r\nQUIT\n": "a PROXY protocol header",
}  # fmt: skip


def what_begins(head: bytes | bytearray) -> str | None:
    """`TLS`, `PLAIN_MQTT`, `HTTP` or other words; None while more bytes are needed.

    Never None for `MOST_BYTES` or more.
    """
    decided = _decided(head) if head else None
    if decided is None and len(head) >= MOST_BYTES:
        return f"unknown: it begins with {bytes(head[:8]).hex(' ')}"
    return decided


def _decided(head: bytes | bytearray) -> str | None:
    for word, what in _WORDS.items():
        if head.startswith(word):
            return what
    if len(head) >= 5 and _is_record(head):
        return TLS
    if _is_connect(head) or (head[0] == _CONNACK and len(head) >= 4 and head[2] <= 1):
        return PLAIN_MQTT
    if len(head) >= 5 and head[0] & 0x80 and head[2] == 1 and head[3] in (0, 2, 3):
        return "a ClientHello in SSL 2.0's form"
    return None


def _is_record(head: bytes | bytearray) -> bool:
    length = head[3] << 8 | head[4]
    is_type = CHANGE_CIPHER_SPEC <= head[0] <= HEARTBEAT
    return is_type and head[1] == 3 and head[2] <= 4 and length <= _LARGEST_RECORD


def _is_connect(head: bytes | bytearray) -> bool:
    """CONNECT: its fixed header, then the protocol's name behind a length of one to four bytes."""
    if head[0] != _CONNECT:
        return False
    return any(
        bytes(head[at:]).startswith((b"\0\4MQTT", b"\0\6MQIsdp")) for at in range(2, 6)
    )  # fmt: skip
