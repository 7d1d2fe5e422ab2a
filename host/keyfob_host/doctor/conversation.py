"""What board and broker say to each other in TLS, as far as it is plain: bytes in, facts out.

No I/O, no clock, no keys. TLS 1.2 (RFC 5246) is plain up to each side's ChangeCipherSpec,
TLS 1.3 (RFC 8446) up to ServerHello; of what comes behind, sizes and counts are told, and
what they can only be. "Board" is the client, "broker" the server. Nothing is verified, and
of any connection at most `MOST_FACTS` are told.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

from keyfob_host.doctor import tls_messages as messages
from keyfob_host.doctor.tls_certificates import (
    MOST_CERTIFICATES,
    describe_seen,
    ocsp_status,
)
from keyfob_host.doctor.tls_cursor import MalformedError
from keyfob_host.doctor.tls_numbers import (
    ALERT,
    ALERT_LEVELS,
    ALERTS,
    APPLICATION_DATA,
    HANDSHAKE,
    MESSAGES,
    RECORD_TYPES,
    name,
    numbered,
)
from keyfob_host.doctor.tls_records import (
    MAX_PLAIN_BYTES,
    Foreign,
    Message,
    MessageReader,
    Record,
    RecordReader,
)

Sender = Literal["board", "broker"]
SENDERS: tuple[Sender, Sender] = ("board", "broker")
End = Literal["fin", "reset"]
MOST_FACTS = 500

_ALERT_CONTENT_BYTES = 2
_TLS13 = "TLS 1.3"
_OCSP_HEAD_BYTES = 4
_HELLO_DONE = 14
_MOST_OF_A_KIND = 2  # a HelloRetryRequest makes two hellos; nothing plain comes more often


@dataclass(frozen=True)
class Fact:
    """One thing that was seen. ``what``: a slug; ``fields``: JSON-ready; texts: `wording`."""

    sender: Sender
    what: str
    fields: dict[str, Any] = field(default_factory=dict)
    certificates: tuple[bytes, ...] = ()  # those in it, in DER


@dataclass
class Alert:
    """A plain one."""

    sender: Sender
    level: int
    number: int

    @property
    def name(self) -> str:
        return name(ALERTS, self.number)

    @property
    def is_closing(self) -> bool:
        """close_notify and user_canceled end a connection that is well."""
        return self.number in (0, 90)


@dataclass
class SideState:
    """One direction."""

    records: RecordReader = field(default_factory=RecordReader)
    messages: MessageReader = field(default_factory=MessageReader)
    alert_bytes: bytearray = field(default_factory=bytearray)
    last: str = ""  # the last message or record, in words
    foreign: str = ""
    data_records: int = 0  # of application data; in TLS 1.3 all that is encrypted
    data_bytes: int = 0
    encrypted_alerts: int = 0
    has_finished: bool = False  # TLS 1.2: an encrypted handshake record came
    last_encrypted_bytes: int = 0
    chain: list[dict[str, Any]] | None = None  # None: no Certificate seen
    ended: End | None = None


class Conversation:
    """One connection. `feed` and `end` give facts in the order in which they were seen."""

    def __init__(self) -> None:
        self.sides: dict[Sender, SideState] = {"board": SideState(), "broker": SideState()}
        self.alerts: list[Alert] = []
        self.client_hello: dict[str, Any] = {}
        self.server_hello: dict[str, Any] = {}
        self.asked_for_certificate = False
        self.is_resumed = False
        self.first_end: tuple[Sender, End] | None = None
        # TLS 1.3: encrypted records of the broker since the board's first one.
        self.answers = 0
        self._has_hello_done = False
        self._read: Counter[tuple[Sender, int]] = Counter()
        self._told = 0

    @property
    def version(self) -> str:
        """The one agreed on, "" before ServerHello."""
        return str(self.server_hello.get("version", ""))

    @property
    def suite(self) -> str:
        return str(self.server_hello.get("suite", ""))

    @property
    def is_hidden(self) -> bool:
        """Whether alerts can no longer be read: TLS 1.3, after ServerHello."""
        return self.version == _TLS13

    @property
    def alert_record_bytes(self) -> int:
        """What an encrypted alert of TLS 1.3 takes: two bytes, content type, tag."""
        return _ALERT_CONTENT_BYTES + 1 + (8 if "_CCM_8" in self.suite else 16)

    def feed(self, sender: Sender, data: bytes) -> Iterator[Fact]:
        """The facts that ``data`` completes."""
        for item in self.sides[sender].records.feed(data):
            yield from self._bounded(self._item(sender, item))

    def take(self, sender: Sender, item: Record | Foreign) -> Iterator[Fact]:
        """As `feed`, for who reads the records of `sides` itself."""
        yield from self._bounded(self._item(sender, item))

    def end(self, sender: Sender, how: End) -> Iterator[Fact]:
        """``sender`` says no more."""
        side = self.sides[sender]
        if side.ended is not None:
            return
        side.ended = how
        if self.first_end is None:
            self.first_end = (sender, how)
        rest = side.records.finish()
        if rest is not None:
            yield from self._bounded(self._foreign(sender, rest))
        if side.messages.pending_bytes:
            yield Fact(sender, "cut-message", {"bytes": side.messages.pending_bytes})
        if self._may_be_alert(side):
            yield Fact(sender, "maybe-alert", {"bytes": side.last_encrypted_bytes})
        yield Fact(sender, "closed" if how == "fin" else "reset", {"after": side.last})

    def _may_be_alert(self, side: SideState) -> bool:
        return (
            self.is_hidden
            and side.data_records > 1
            and side.last_encrypted_bytes == self.alert_record_bytes
        )

    def _bounded(self, facts: Iterator[Fact]) -> Iterator[Fact]:
        for fact in facts:
            self._told += 1
            if self._told < MOST_FACTS:
                yield fact
            elif self._told == MOST_FACTS:
                yield Fact(fact.sender, "no-more", {"told": MOST_FACTS})

    def _item(self, sender: Sender, item: Record | Foreign) -> Iterator[Fact]:
        if isinstance(item, Foreign):
            yield from self._foreign(sender, item)
        elif item.fragment is not None:
            yield from self._plain(sender, item, item.fragment)
        else:
            yield from self._encrypted(sender, item)

    def _foreign(self, sender: Sender, item: Foreign) -> Iterator[Fact]:
        side = self.sides[sender]
        side.foreign = side.last = item.what
        yield Fact(sender, "not-tls", {"seen": item.what, "after_bytes": side.records.bytes_seen})

    # -- what is plain

    def _plain(self, sender: Sender, record: Record, fragment: bytes) -> Iterator[Fact]:
        side = self.sides[sender]
        if not fragment:
            yield Fact(sender, "empty-record", {"type": name(RECORD_TYPES, record.content_type)})
        elif record.content_type == HANDSHAKE:
            for message in side.messages.feed(fragment):
                yield from self._message(sender, message)
        elif record.content_type == ALERT:
            side.alert_bytes += fragment
            while len(side.alert_bytes) >= _ALERT_CONTENT_BYTES:
                level, number = side.alert_bytes[:_ALERT_CONTENT_BYTES]
                del side.alert_bytes[:_ALERT_CONTENT_BYTES]
                yield self._alert(Alert(sender, level, number))
        else:
            side.last = "ChangeCipherSpec"
            # TLS 1.3 sends it for old middleboxes, and it changes nothing.
            side.records.protected = not self.is_hidden
            if sender == "broker" and self.version and not self.is_hidden:
                # By a ticket alone there may be no session id to echo (RFC 5077 section 3.4).
                self.is_resumed = self.is_resumed or not self._has_hello_done
            yield Fact(sender, "change-cipher-spec", {"is_dummy": self.is_hidden})

    def _alert(self, alert: Alert) -> Fact:
        self.alerts.append(alert)
        del self.alerts[:-MOST_FACTS]
        self.sides[alert.sender].last = f"alert {numbered(ALERTS, alert.number)}"
        fields = {
            "level": name(ALERT_LEVELS, alert.level), "number": alert.number, "name": alert.name,
        }  # fmt: skip
        return Fact(alert.sender, "alert", fields)

    def _message(self, sender: Sender, message: Message) -> Iterator[Fact]:
        what = name(MESSAGES, message.message_type)
        side = self.sides[sender]
        side.last = what
        self._has_hello_done |= message.message_type == _HELLO_DONE
        reader = _READERS.get((sender, message.message_type))
        self._read[sender, message.message_type] += 1
        if message.body is None:
            yield Fact(sender, "too-long", {"message": what, "bytes": message.length})
        elif self._read[sender, message.message_type] > _MOST_OF_A_KIND:
            yield Fact(sender, "repeated", {"message": what, "bytes": message.length})
        elif reader is None:
            other: Sender = "board" if sender == "broker" else "broker"
            is_others = (other, message.message_type) in _READERS
            known = _slug(what) if message.message_type in MESSAGES else "message"
            slug = "unexpected" if is_others else known
            yield Fact(sender, slug, {"message": what, "bytes": message.length})
        else:
            try:
                fact = reader(self, message.body)
            except MalformedError as error:
                fact = Fact(sender, "malformed", {"message": what, "why": str(error)})
            side.last = "HelloRetryRequest" if fact.what == "hello-retry-request" else what
            yield fact

    def _client_hello(self, body: bytes) -> Fact:
        facts = messages.read_client_hello(body)
        self.client_hello = facts
        shown = {key: value for key, value in facts.items() if key != "session_id"}
        shown["session_id_bytes"] = len(facts["session_id"]) // 2
        return Fact("board", "client-hello", shown)

    def _server_hello(self, body: bytes) -> Fact:
        facts = messages.read_server_hello(body)
        if not facts["is_retry"]:
            self.server_hello = facts
        echoed = facts["session_id"] and facts["session_id"] == self.client_hello.get("session_id")
        if facts["version"] == _TLS13:
            self.is_resumed = "psk_selected" in facts
        elif echoed:
            self.is_resumed = True
        shown = {key: value for key, value in facts.items() if key != "session_id"}
        shown["session_id_bytes"] = len(facts["session_id"]) // 2
        shown["is_session_id_echoed"] = bool(echoed)
        shown["is_resumed"] = self.is_resumed
        return Fact("broker", "hello-retry-request" if facts["is_retry"] else "server-hello", shown)

    def _certificate(self, sender: Sender, body: bytes) -> Fact:
        ders = messages.read_certificate(body)
        chain = [describe_seen(der) for der in ders[:MOST_CERTIFICATES]]
        self.sides[sender].chain = chain
        fields = {"certificates": chain, "count": len(ders), "bytes": len(body)}
        return Fact(sender, "certificate", fields, ders[:MOST_CERTIFICATES])

    def _certificate_request(self, body: bytes) -> Fact:
        self.asked_for_certificate = True
        return Fact("broker", "certificate-request", messages.read_certificate_request(body))

    def _server_key_exchange(self, body: bytes) -> Fact:
        facts = messages.read_server_key_exchange(body, self.suite)
        return Fact("broker", "server-key-exchange", facts)

    def _certificate_status(self, body: bytes) -> Fact:
        facts = messages.read_certificate_status(body)
        if facts["type"] == "ocsp":
            facts["status"] = ocsp_status(body[_OCSP_HEAD_BYTES:])
        return Fact("broker", "certificate-status", facts)

    # -- what is not

    def _encrypted(self, sender: Sender, record: Record) -> Iterator[Fact]:
        side = self.sides[sender]
        size = record.length
        if not side.records.protected and record.content_type != APPLICATION_DATA:
            # A plain one above the limit of RFC 8446 section 5.1, or a heartbeat.
            kind = name(RECORD_TYPES, record.content_type)
            side.last = f"{kind} record of {size} bytes"
            yield Fact(sender, "odd-record", {"type": kind, "bytes": size, "most": MAX_PLAIN_BYTES})
        elif record.content_type == ALERT:
            side.encrypted_alerts += 1
            side.last = "an encrypted alert"
            yield Fact(sender, "encrypted-alert", {"bytes": size})
        elif record.content_type == HANDSHAKE:
            side.last = "an encrypted handshake record" if side.has_finished else "Finished"
            if not side.has_finished:
                yield Fact(sender, "finished", {"bytes": size})
            side.has_finished = True
        elif record.content_type == APPLICATION_DATA:
            yield from self._data(sender, size)

    def _data(self, sender: Sender, size: int) -> Iterator[Fact]:
        side = self.sides[sender]
        side.data_records += 1
        side.data_bytes += size
        side.last_encrypted_bytes = size
        side.last = "encrypted records" if self.is_hidden else "application data"
        if sender == "broker" and self.sides["board"].data_records:
            self.answers += 1
        if side.data_records > 1:
            return
        if not self.is_hidden:
            yield Fact(sender, "application-data", {"bytes": size})
        elif size == self.alert_record_bytes:
            # Shorter than any handshake message that may come first (RFC 8446 section 4).
            side.encrypted_alerts += 1
            side.last = "an encrypted alert"
            yield Fact(sender, "encrypted-alert", {"bytes": size})
        else:
            yield Fact(sender, "encrypted", {"bytes": size})


def _slug(message: str) -> str:
    """``ServerHelloDone`` as ``server-hello-done``."""
    return "".join(f"-{one.lower()}" if one.isupper() else one for one in message).lstrip("-")


_READERS: dict[tuple[Sender, int], Callable[[Conversation, bytes], Fact]] = {
    ("board", 1): Conversation._client_hello,
    ("broker", 2): Conversation._server_hello,
    ("broker", 11): lambda self, body: self._certificate("broker", body),
    ("board", 11): lambda self, body: self._certificate("board", body),
    ("broker", 12): Conversation._server_key_exchange,
    ("broker", 13): Conversation._certificate_request,
    ("broker", 22): Conversation._certificate_status,
    ("board", 15): lambda self, body: Fact(
        "board", "certificate-verify", messages.read_certificate_verify(body)
    ),
    ("broker", 4): lambda self, body: Fact(
        "broker", "session-ticket", messages.read_session_ticket(body)
    ),
}
