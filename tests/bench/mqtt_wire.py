"""Every packet between the device and its broker, and what a device may do with PUBLISH.

A relay that reads what it carries. What passed is a fact about both: which PUBLISH the
broker acknowledged before it was killed, and which of them the device sent again.
MQTT 3.1.1 and 5.0; payloads are numbers in ASCII.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import Any

from keyfob_host.relay import TcpRelay

CONNACK, PUBLISH, PUBACK, PUBREC, PUBREL, PUBCOMP = 2, 3, 4, 5, 6, 7
PINGREQ = 12
_TOPIC_ALIAS = 0x23  # the only property, or the first, of what the device publishes here
FIRST_STORED_ID = 0xFF00  # from there on packet identifiers are the outbox's


@dataclass(frozen=True)
class Packet:
    """``number``: the payload of a PUBLISH. ``at_s``: when the relay saw its end.
    ``version``: of the protocol, in a CONNACK."""

    connection: int
    is_up: bool
    kind: int
    packet_id: int = 0
    number: int = -1
    is_dup: bool = False
    topic: str = ""
    session_present: bool = False
    version: int = 4
    at_s: float = field(default_factory=time.monotonic, compare=False, repr=False)


class WireRelay(TcpRelay):
    """``packets``: all of them that ended, in the order in which the relay saw them.

    What goes up counts when it is written to the broker, what comes down when it was
    read from it; whether the device got the last of a connection is not known here.
    """

    def __init__(self, target: tuple[str, int]) -> None:
        super().__init__(target)
        self.packets: list[Packet] = []

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await super()._connect()
        number = len(self.connections)
        version = _Version()
        up = _Parser(self.packets, number, True, version)
        down = _Parser(self.packets, number, False, version)
        tapped: Any = (_Tapped(reader, "read", down.feed), _Tapped(writer, "write", up.feed))
        return tapped

    def publishes(self, topic: str) -> list[Packet]:
        """What the device sent on ``topic``, duplicates included."""
        return [one for one in self.packets if one.is_up and one.topic == topic]


class _Tapped:
    """A stream reader or writer that shows what passes."""

    def __init__(self, stream: Any, name: str, show: Any) -> None:
        self._stream = stream
        self._show = show
        setattr(self, name, self._read if name == "read" else self._write)

    async def _read(self, most: int) -> bytes:
        data = await self._stream.read(most)
        self._show(data)
        return data

    def _write(self, data: bytes) -> None:
        self._show(data)
        self._stream.write(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@dataclass
class _Version:
    level: int = 4


@dataclass
class _Parser:
    """One direction of a connection."""

    packets: list[Packet]
    connection: int
    is_up: bool
    version: _Version
    rest: bytearray = field(default_factory=bytearray)
    aliases: dict[int, str] = field(default_factory=dict)

    def feed(self, data: bytes) -> None:
        self.rest += data
        at = 0
        while (end := _end_of(self.rest, at)) and end[1] <= len(self.rest):
            body, after = end
            self.packets.append(self._read(self.rest[at], bytes(self.rest[body:after])))
            at = after
        del self.rest[:at]

    def _read(self, first: int, body: bytes) -> Packet:
        kind = first >> 4
        facts: dict[str, Any] = {}
        if kind == 1:
            self.version.level = body[6]
        elif kind == CONNACK:
            facts = {"session_present": body[0] == 1, "version": self.version.level}
        elif PUBACK <= kind <= PUBCOMP:
            facts = {"packet_id": body[0] << 8 | body[1]}
        elif kind == PUBLISH:
            at = 2 + (body[0] << 8 | body[1])
            facts = {"topic": body[2:at].decode(), "is_dup": bool(first & 8)}
            if first & 6:
                facts["packet_id"] = body[at] << 8 | body[at + 1]
                at += 2
            if self.version.level == 5:
                size, at = _variable(body, at)
                if body[at] == _TOPIC_ALIAS and size:
                    alias = body[at + 1] << 8 | body[at + 2]
                    facts["topic"] = self.aliases.setdefault(alias, facts["topic"])
                at += size
            payload = body[at:]
            facts["number"] = int(payload) if payload.isdigit() else -1
        return Packet(self.connection, self.is_up, kind, **facts)


def _variable(data: bytes, at: int) -> tuple[int, int]:
    """A variable byte integer, and where it ends."""
    value = shift = 0
    while True:
        value |= (data[at] & 127) << shift
        at += 1
        shift += 7
        if data[at - 1] < 128:
            return value, at


def _end_of(data: bytearray, at: int) -> tuple[int, int] | None:
    """Where the body of the packet at ``at`` starts and ends, once its length is there."""
    if not any(byte < 128 for byte in data[at + 1 : at + 5]):
        return None
    size, body = _variable(data, at + 1)
    return body, body + size


@dataclass
class _Sent:
    """A PUBLISH. ``connection``: the last that carried it, of those with a CONNACK."""

    topic: str
    number: int
    connection: int
    is_taken: bool = False  # there was a PUBREC, which may have arrived
    is_released: bool = False
    is_over: bool = False


class _Judge:
    """`breaches`, packet by packet."""

    def __init__(self) -> None:
        self.found: list[str] = []
        self._sent: dict[int, _Sent] = {}  # by identifier, in the order of first sending
        self._owed: list[int] = []  # identifiers to be sent again on this connection
        self._older: set[int] = set()  # identifiers whose last sending was before it
        self._names: set[tuple[str, int]] = set()
        self._connection = 0
        self._is_anew = False  # what is sent again goes into a new session, of 5.0

    def see(self, one: Packet) -> None:
        if one.kind == CONNACK:
            self._connected(one)
        elif one.is_up and one.kind == PUBLISH and one.packet_id:
            self._published(one)
        elif one.is_up and one.kind == PUBREL and one.packet_id in self._sent:
            self._sent[one.packet_id].is_released = True
            if one.packet_id in self._owed:
                self._owed.remove(one.packet_id)
        elif not one.is_up and one.kind in (PUBACK, PUBCOMP) and one.packet_id in self._sent:
            self._sent[one.packet_id].is_over = True
        elif not one.is_up and one.kind == PUBREC and one.packet_id in self._sent:
            self._sent[one.packet_id].is_taken = True

    def _connected(self, one: Packet) -> None:
        self._connection += 1
        self._is_anew = one.version == 5 and not one.session_present
        self._older = set(self._sent)
        for sent in self._sent.values():
            if sent.is_released and not one.session_present:
                sent.is_over = True  # the broker of a new session had taken it for good
        # Whether a PUBREC arrived is not known; if it did, a new session has no use for it.
        self._owed = [
            packet_id
            for packet_id, sent in self._sent.items()
            if not sent.is_over and (one.session_present or not sent.is_taken)
        ]

    def _published(self, one: Packet) -> None:
        sent, name = self._sent.get(one.packet_id), (one.topic, one.number)
        is_same = sent and (sent.topic, sent.number) == name
        is_again = is_same if self._is_anew else one.is_dup
        # A first sending that was lost on its way to the relay is seen as a second one.
        if not is_again or name not in self._names:
            if sent and not sent.is_over:
                self.found.append(f"{one}: its identifier is in use for {sent}")
            if self._owed and not one.is_dup:
                self.found.append(f"{one}: before {self._owed}, which are to be sent again")
            if name in self._names:
                self.found.append(f"{one}: it was sent before")
            self._forget(one.packet_id)
            self._sent[one.packet_id] = _Sent(*name, self._connection)
            self._names.add(name)
            return
        # One that is over may come again: its PUBACK, seen here, may not have arrived.
        if one.is_dup == self._is_anew:
            self.found.append(f"{one}: DUP in a new session, or none in an old one")
        if not sent or not is_same or sent.is_released or sent.connection == self._connection:
            self.found.append(f"{one}: DUP, after {sent}")
            return
        sent.connection = self._connection
        if one.packet_id in self._owed:
            before = self._owed[: self._owed.index(one.packet_id)]
            if [earlier for earlier in before if not self._sent[earlier].is_taken]:
                self.found.append(f"{one}: before {before}, which were sent first")
            self._owed.remove(one.packet_id)

    def _forget(self, packet_id: int) -> None:
        """Something new goes out: what was over by then does not come again."""
        self._sent.pop(packet_id, None)
        for other in list(self._older):
            sent = self._sent.get(other)
            if not sent or sent.connection == self._connection:
                self._older.remove(other)
            elif sent.is_over:
                self._older.remove(other)
                del self._sent[other]


def breaches(packets: list[Packet]) -> list[str]:
    """What the device did against MQTT's rules on identifiers and on sending again.

    Each message of QoS 1 and 2 has a number of its own, on its topic.

    - An identifier in use is never taken for another message.
    - A message is sent again only after a reconnect, with DUP and its identifier
      (3.1.1 sections 3.3.1.1 and 4.4), and never once its PUBREL went out; in a new session
      of 5.0, whose state the device had to discard (MQTT-3.2.2-5), without DUP.
    - After a CONNACK everything that is not complete is sent again before anything new,
      in its order (section 4.6): the PUBLISH, or the PUBREL to a broker that kept the
      session.
    """
    judge = _Judge()
    for one in packets:
        judge.see(one)
    return judge.found


def acknowledged(packets: list[Packet], topic: str) -> set[int]:
    """Numbers of the messages that the broker said it has: PUBACK, or PUBREC."""
    names: dict[int, int] = {}
    had: set[int] = set()
    for one in packets:
        if one.is_up and one.kind == PUBLISH and one.topic == topic:
            names[one.packet_id] = one.number
        elif not one.is_up and one.kind in (PUBACK, PUBREC) and one.packet_id in names:
            had.add(names[one.packet_id])
    return had
