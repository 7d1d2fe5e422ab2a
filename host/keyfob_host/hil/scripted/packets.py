"""MQTT control packets, 3.1.1 and 5.0: a client's read strictly, a server's written.

No I/O. A client that breaks a rule which can be seen in a single packet, or in the first
packet of a connection, is refused with the rule; passwords are seen and not kept. Not
judged: which packet identifiers are in use, whether an acknowledgement was asked for,
topic aliases that were never set, a filter's syntax behind ``$share/``.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from keyfob_host.hil.scripted.properties import (
    MalformedError,
    Properties,
    Reader,
    put_data,
    put_properties,
    put_variable,
    read_properties,
)

__all__ = ["KINDS", "MOST_PACKET_BYTES", "MalformedError", "Packet", "PacketReader",
           "Properties", "encode"]  # fmt: skip

MOST_PACKET_BYTES = 1 << 20
KINDS = ("", "CONNECT", "CONNACK", "PUBLISH", "PUBACK", "PUBREC", "PUBREL", "PUBCOMP",
         "SUBSCRIBE", "SUBACK", "UNSUBSCRIBE", "UNSUBACK", "PINGREQ", "PINGRESP",
         "DISCONNECT", "AUTH")  # fmt: skip
VERSION_3_1_1, VERSION_5 = 4, 5
_FLAGS = {"PUBREL": 2, "SUBSCRIBE": 2, "UNSUBSCRIBE": 2}
_ACKS = ("PUBACK", "PUBREC", "PUBREL", "PUBCOMP")
_OF_SERVER = ("CONNACK", "SUBACK", "UNSUBACK", "PINGRESP")
_UNSUPPORTED_VERSION = 0x84


@dataclass(frozen=True)
class Will:
    """What a server is to publish when a client is gone."""

    topic: str
    payload: bytes
    qos: int
    retain: bool
    properties: Properties = field(default_factory=dict)


@dataclass(frozen=True)
class Packet:
    """Any control packet; the fields that its kind has not are as they stand here.

    ``code``: return code, reason code. ``codes``: those of a SUBACK or UNSUBACK.
    ``filters``: of a SUBSCRIBE with their options (QoS in the lowest bits), of an
    UNSUBSCRIBE with 0. ``size``: bytes on the wire, of what was read.
    """

    kind: str
    packet_id: int = 0
    topic: str = ""
    payload: bytes = b""
    qos: int = 0
    retain: bool = False
    dup: bool = False
    code: int = 0
    codes: tuple[int, ...] = ()
    session_present: bool = False
    filters: tuple[tuple[str, int], ...] = ()
    properties: Properties = field(default_factory=dict)
    client_id: str = ""
    version: int = 0
    clean_start: bool = False
    keepalive_s: int = 0
    will: Will | None = None
    username: str | None = None
    has_password: bool = False
    size: int = 0

    def __str__(self) -> str:
        """A line for people."""
        parts = [self.kind]
        if self.kind == "CONNECT":
            parts += [
                f"{self.client_id!r}, version {self.version}, keep alive {self.keepalive_s} s"
            ]
            parts += [", clean start"] if self.clean_start else []
        elif self.kind == "PUBLISH":
            flags = ", retained" * self.retain + ", DUP" * self.dup
            parts += [f"{self.topic!r}, {len(self.payload)} bytes, QoS {self.qos}{flags}"]
        elif self.filters:
            parts += [", ".join(f"{topic!r} QoS {options & 3}" for topic, options in self.filters)]
        if self.packet_id:
            parts += [f"id {self.packet_id}"]
        if self.code or self.codes:
            parts += ["code " + " ".join(f"0x{code:02x}" for code in self.codes or (self.code,))]
        if self.properties:
            parts += [str(self.properties)]
        return " ".join(parts)


class PacketReader:
    """One connection's packets from a client. ``version`` is 0 until its CONNECT.

    `feed` raises `MalformedError`, and is not to be fed any more then.
    """

    def __init__(self, most_bytes: int = MOST_PACKET_BYTES) -> None:
        self.version = 0
        self._most_bytes = most_bytes
        self._data = bytearray()

    def feed(self, data: bytes) -> Iterator[Packet]:
        """The packets that ``data`` completes."""
        self._data += data
        while (found := self._split()) is not None:
            head, body, size = found
            yield replace(self._parse(head, body), size=size)

    @property
    def pending(self) -> int:
        """Bytes of a packet that has not ended."""
        return len(self._data)

    def _split(self) -> tuple[int, bytes, int] | None:
        """First byte, body and size of the first packet, taken out; None if it is not whole."""
        length, at = 0, 0
        for at in range(1, 5):
            if at >= len(self._data):
                self._check_kind()
                return None
            length |= (self._data[at] & 0x7F) << 7 * (at - 1)
            if not self._data[at] & 0x80:
                break
        else:
            raise MalformedError("the remaining length has more than 4 bytes")
        self._check_kind()
        if at > 1 and not self._data[at]:
            raise MalformedError("the remaining length takes more bytes than it needs")
        size = at + 1 + length
        if size > self._most_bytes:
            raise MalformedError(f"a packet of {size} bytes, want at most {self._most_bytes}", 0x95)
        if len(self._data) < size:
            return None
        head, body = self._data[0], bytes(self._data[at + 1 : size])
        del self._data[:size]
        return head, body, size

    def _check_kind(self) -> None:
        """Before a body is waited for that will never be of use."""
        if not self._data:
            return
        kind, flags = KINDS[self._data[0] >> 4], self._data[0] & 15
        if not kind or kind in _OF_SERVER or (kind == "AUTH" and self.version != VERSION_5):
            raise MalformedError(f"packet type {self._data[0] >> 4} from a client", 0x82)
        if kind != "PUBLISH" and flags != _FLAGS.get(kind, 0):
            raise MalformedError(f"{kind} with flags {flags:04b}")
        if bool(self.version) == (kind == "CONNECT"):
            why = "a second CONNECT" if self.version else f"{kind} before CONNECT"
            raise MalformedError(why, 0x82)

    def _parse(self, head: int, body: bytes) -> Packet:
        kind, reader = KINDS[head >> 4], Reader(body)
        if kind == "CONNECT":
            packet = _connect(reader)
            self.version = packet.version
        elif kind == "PUBLISH":
            packet = _publish(head & 15, reader, self.version)
        elif kind in _ACKS:
            packet = self._coded(kind, reader, _packet_id(reader))
        elif kind in ("SUBSCRIBE", "UNSUBSCRIBE"):
            packet = _filters(kind, reader, self.version)
        elif kind == "PINGREQ" or self.version != VERSION_5:
            packet = Packet(kind)
        else:
            packet = self._coded(kind, reader, 0)
        if reader.left:
            raise MalformedError(f"{reader.left} bytes behind the end of {kind}")
        return packet

    def _coded(self, kind: str, reader: Reader, packet_id: int) -> Packet:
        """Reason code and properties, which may both be left out in 5.0."""
        code, properties = 0, {}
        if self.version == VERSION_5:
            code = reader.byte("the reason code") if reader.left else 0
            properties = read_properties(reader, kind) if reader.left else {}
        return Packet(kind, packet_id=packet_id, code=code, properties=properties)


def _connect(reader: Reader) -> Packet:
    name, version = reader.text("the protocol name"), reader.byte("the protocol version")
    if name != "MQTT" or version not in (VERSION_3_1_1, VERSION_5):
        raise MalformedError(f"protocol {name!r} version {version}", _UNSUPPORTED_VERSION)
    flags = reader.byte("the connect flags")
    has_will, qos, retain = bool(flags & 4), flags >> 3 & 3, bool(flags & 32)
    if flags & 1:
        raise MalformedError("the reserved connect flag is set")
    if qos == 3 or (not has_will and (qos or retain)):
        raise MalformedError(f"the connect flags {flags:08b} are no will's")
    keepalive_s = reader.two("the keep alive")
    properties = read_properties(reader, "CONNECT") if version == VERSION_5 else {}
    client_id = reader.text("the client identifier")
    will = None
    if has_will:
        of_will = read_properties(reader, "will") if version == VERSION_5 else {}
        topic = _topic(reader.text("the will topic"), "will topic")
        will = Will(topic, reader.data("the will payload"), qos, retain, of_will)
    username = reader.text("the user name") if flags & 128 else None
    if flags & 64:
        if username is None and version == VERSION_3_1_1:
            raise MalformedError("a password without a user name")
        reader.data("the password")
    return Packet(
        "CONNECT", client_id=client_id, version=version, clean_start=bool(flags & 2),
        keepalive_s=keepalive_s, properties=properties, will=will, username=username,
        has_password=bool(flags & 64),
    )  # fmt: skip


def _publish(flags: int, reader: Reader, version: int) -> Packet:
    qos, dup = flags >> 1 & 3, bool(flags & 8)
    if qos == 3 or (dup and not qos):
        raise MalformedError(f"PUBLISH with flags {flags:04b}")
    topic = reader.text("the topic name")
    packet_id = _packet_id(reader) if qos else 0
    properties = read_properties(reader, "PUBLISH") if version == VERSION_5 else {}
    if topic or "topic-alias" not in properties:
        _topic(topic, "topic name")
    return Packet(
        "PUBLISH", topic=topic, payload=reader.rest(), qos=qos, retain=bool(flags & 1), dup=dup,
        packet_id=packet_id, properties=properties,
    )  # fmt: skip


def _filters(kind: str, reader: Reader, version: int) -> Packet:
    packet_id = _packet_id(reader)
    properties = read_properties(reader, kind) if version == VERSION_5 else {}
    reserved = 0xC0 if version == VERSION_5 else 0xFC
    found = []
    while reader.left:
        topic_filter = reader.text("a topic filter")
        _check_filter(topic_filter)
        options = reader.byte("the options") if kind == "SUBSCRIBE" else 0
        if options & reserved or options & 3 == 3 or options >> 4 & 3 == 3:
            raise MalformedError(f"{topic_filter!r} with options {options:08b}")
        found.append((topic_filter, options))
    if not found:
        raise MalformedError(f"{kind} without a topic filter", 0x82)
    return Packet(kind, packet_id=packet_id, filters=tuple(found), properties=properties)


def _packet_id(reader: Reader) -> int:
    found = reader.two("the packet identifier")
    if not found:
        raise MalformedError("packet identifier 0", 0x82)
    return found


def _topic(topic: str, what: str) -> str:
    """Sections 3.3.2.1 and 4.7."""
    if not topic or "+" in topic or "#" in topic:
        raise MalformedError(f"{what} {topic!r}", 0x90)
    return topic


def _check_filter(topic_filter: str) -> None:
    """Section 4.7.1."""
    levels = topic_filter.split("/")
    for at, level in enumerate(levels):
        is_last = at == len(levels) - 1
        is_odd = level not in ("+", "#") and ("+" in level or "#" in level)
        if not topic_filter or is_odd or (level == "#" and not is_last):
            raise MalformedError(f"topic filter {topic_filter!r}", 0x8F)


def encode(packet: Packet, version: int) -> bytes:
    """``packet``, which a server sends, in ``version`` (4 or 5) of the protocol."""
    is_5, kind, flags = version == VERSION_5, packet.kind, _FLAGS.get(packet.kind, 0)
    properties = put_properties(packet.properties) if is_5 else b""
    numbered = struct.pack(">H", packet.packet_id)
    if kind == "CONNACK":
        body = bytes([packet.session_present, packet.code]) + properties
    elif kind == "PUBLISH":
        flags = packet.dup << 3 | packet.qos << 1 | packet.retain
        body = put_data(packet.topic.encode()) + (numbered if packet.qos else b"")
        body += properties + packet.payload
    elif kind in _ACKS:
        has_more = is_5 and (packet.code or packet.properties)
        body = numbered + (bytes([packet.code]) + properties if has_more else b"")
    elif kind in ("SUBACK", "UNSUBACK"):
        has_codes = is_5 or kind == "SUBACK"
        body = numbered + properties + (bytes(packet.codes) if has_codes else b"")
    elif kind in ("DISCONNECT", "AUTH"):
        body = bytes([packet.code]) + properties
    else:
        body = b""
    return bytes([KINDS.index(kind) << 4 | flags]) + put_variable(len(body)) + body
