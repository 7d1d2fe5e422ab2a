"""Properties of MQTT 5.0: section 2.2.2 of the specification.

Read strictly for what a client may send, written for what a server may. Called by the
specification's names, in the spelling that mosquitto's tools have (``user-property``).
A property that may come more than once has a list as its value.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any

Properties = dict[str, Any]

_REPEATED = ("user-property", "subscription-identifier")
# Identifier: name, type.
_TABLE: dict[int, tuple[str, str]] = {
    1: ("payload-format-indicator", "byte"),
    2: ("message-expiry-interval", "four"),
    3: ("content-type", "text"),
    8: ("response-topic", "text"),
    9: ("correlation-data", "data"),
    11: ("subscription-identifier", "variable"),
    17: ("session-expiry-interval", "four"),
    18: ("assigned-client-identifier", "text"),
    19: ("server-keep-alive", "two"),
    21: ("authentication-method", "text"),
    22: ("authentication-data", "data"),
    23: ("request-problem-information", "byte"),
    24: ("will-delay-interval", "four"),
    25: ("request-response-information", "byte"),
    26: ("response-information", "text"),
    28: ("server-reference", "text"),
    31: ("reason-string", "text"),
    33: ("receive-maximum", "two"),
    34: ("topic-alias-maximum", "two"),
    35: ("topic-alias", "two"),
    36: ("maximum-qos", "byte"),
    37: ("retain-available", "byte"),
    38: ("user-property", "pair"),
    39: ("maximum-packet-size", "four"),
    40: ("wildcard-subscription-available", "byte"),
    41: ("subscription-identifier-available", "byte"),
    42: ("shared-subscription-available", "byte"),
}
_BY_NAME = {name: (number, kind) for number, (name, kind) in _TABLE.items()}
_ANSWER = frozenset({"reason-string", "user-property"})
_MESSAGE = frozenset(
    {"payload-format-indicator", "message-expiry-interval", "content-type", "response-topic",
     "correlation-data", "user-property"}
)  # fmt: skip
# What a client may send, by packet.
_OF_CLIENT: dict[str, frozenset[str]] = {
    "CONNECT": frozenset(
        {"session-expiry-interval", "receive-maximum", "maximum-packet-size",
         "topic-alias-maximum", "request-response-information", "request-problem-information",
         "user-property", "authentication-method", "authentication-data"}
    ),
    "will": _MESSAGE | {"will-delay-interval"},
    "PUBLISH": _MESSAGE | {"topic-alias"},
    "SUBSCRIBE": frozenset({"subscription-identifier", "user-property"}),
    "UNSUBSCRIBE": frozenset({"user-property"}),
    "DISCONNECT": _ANSWER | {"session-expiry-interval"},
    "AUTH": _ANSWER | {"authentication-method", "authentication-data"},
    **dict.fromkeys(("PUBACK", "PUBREC", "PUBREL", "PUBCOMP"), _ANSWER),
}  # fmt: skip
_FLAGS = ("payload-format-indicator", "request-problem-information", "request-response-information")
_NOT_ZERO = ("receive-maximum", "maximum-packet-size", "topic-alias", "subscription-identifier")
_MOST_VARIABLE_BYTES = 4


class MalformedError(Exception):
    """What a device sent is not MQTT; ``code``: the reason code of 5.0 that says so."""

    def __init__(self, why: str, code: int = 0x81) -> None:
        super().__init__(why)
        self.code = code


class Reader:
    """A cursor over the body of one packet."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def left(self) -> int:
        return len(self._data) - self._at

    def take(self, count: int, what: str) -> bytes:
        if count > self.left:
            raise MalformedError(f"{what} ends after {self.left} of {count} bytes")
        self._at += count
        return self._data[self._at - count : self._at]

    def rest(self) -> bytes:
        return self.take(self.left, "the rest")

    def byte(self, what: str) -> int:
        return self.take(1, what)[0]

    def two(self, what: str) -> int:
        return int.from_bytes(self.take(2, what), "big")

    def four(self, what: str) -> int:
        return int.from_bytes(self.take(4, what), "big")

    def data(self, what: str) -> bytes:
        return self.take(self.two(f"the length of {what}"), what)

    def text(self, what: str) -> str:
        """UTF-8 without surrogates and U+0000: sections 1.5.4 (5.0) and 1.5.3 (3.1.1)."""
        try:
            text = self.data(what).decode()
        except UnicodeDecodeError as error:
            raise MalformedError(f"{what} is not UTF-8: {error.reason}") from None
        if "\0" in text:
            raise MalformedError(f"{what} has U+0000 in it")
        return text

    def variable(self, what: str) -> int:
        """A variable byte integer, in the fewest bytes: section 1.5.5."""
        value, shift = 0, 0
        while True:
            byte = self.byte(what)
            value |= (byte & 0x7F) << shift
            if not byte & 0x80:
                break
            shift += 7
            if shift >= 7 * _MOST_VARIABLE_BYTES:
                raise MalformedError(f"{what} has more than {_MOST_VARIABLE_BYTES} bytes")
        if shift and not byte:
            raise MalformedError(f"{what} takes more bytes than it needs")
        return value


def read_properties(reader: Reader, packet: str) -> Properties:
    """Those of ``packet`` (a kind, or ``"will"``), which a client sent."""
    inside = Reader(reader.take(reader.variable("the property length"), "the properties"))
    found: Properties = {}
    while inside.left:
        number = inside.variable("a property's identifier")
        name, kind = _TABLE.get(number, ("", ""))
        if name not in _OF_CLIENT.get(packet, frozenset()):
            raise MalformedError(f"a client's {packet} has no property {name or number}", 0x82)
        value = _read(inside, kind, name)
        if (name in _FLAGS and value not in (0, 1)) or (name in _NOT_ZERO and not value):
            raise MalformedError(f"{name} is {value}", 0x82)
        if name == "user-property":
            found.setdefault(name, []).append(value)
        elif name in found:
            raise MalformedError(f"{name} comes twice", 0x82)
        else:
            found[name] = value
    return found


def put_properties(properties: Mapping[str, object]) -> bytes:
    """Their length and themselves; a name that is unknown raises `KeyError`."""
    parts = []
    for name, value in properties.items():
        number, kind = _BY_NAME[name]
        values = value if name in _REPEATED and isinstance(value, list) else [value]
        parts += [put_variable(number) + _put(kind, one) for one in values]
    body = b"".join(parts)
    return put_variable(len(body)) + body


def put_variable(value: int) -> bytes:
    """A variable byte integer."""
    out = bytearray()
    while True:
        value, byte = value >> 7, value & 0x7F
        out.append(byte | (0x80 if value else 0))
        if not value:
            return bytes(out)


def put_data(value: bytes) -> bytes:
    """Binary data, or text that was encoded."""
    return struct.pack(">H", len(value)) + value


def _read(reader: Reader, kind: str, name: str) -> Any:
    if kind == "pair":
        return reader.text(name), reader.text(name)
    return getattr(reader, kind)(name)


def _put(kind: str, value: Any) -> bytes:
    if kind == "pair":
        return put_data(value[0].encode()) + put_data(value[1].encode())
    if kind in ("text", "data"):
        return put_data(value.encode() if kind == "text" else value)
    if kind == "variable":
        return put_variable(value)
    return int(value).to_bytes({"byte": 1, "two": 2, "four": 4}[kind], "big")
