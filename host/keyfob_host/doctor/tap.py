"""The TLS tap: a transparent proxy between board and broker that tells what it sees.

The bytes go through `relay.TcpRelay` unchanged and are read after they were sent on; what is
plain in them becomes events (`conversation`), a line each, and a verdict at a connection's
end. No key is needed or asked for. Of application data, Finished and all else that is
encrypted only sizes are kept. The broker sees the tap's address in place of the board's.
"""

from __future__ import annotations

import asyncio
import base64
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

from keyfob_host.doctor.conversation import Conversation, Fact, Sender
from keyfob_host.doctor.tap_capture import Capture
from keyfob_host.doctor.tls_numbers import HANDSHAKE
from keyfob_host.doctor.tls_records import Record
from keyfob_host.doctor.verdict import Verdict, verdict
from keyfob_host.doctor.wording import in_words
from keyfob_host.errors import ExitStatus, KeyfobHostError
from keyfob_host.listeners import who_listens
from keyfob_host.relay import Connection, Direction, TcpRelay

MOST_CONNECTIONS = 100  # kept; older ones that are over are forgotten
_MOST_COUNTED = 1000
_MOST_CLEAR_BYTES = 1 << 16
SILENCE_S = 10.0
_HALF_OPEN_S = 0.5  # a board whose program ended with the socket open closes it no more

_SENDERS: dict[Direction, Sender] = {"up": "board", "down": "broker"}
_REPORTED = 3


@dataclass(frozen=True)
class TapEvent:
    """One fact. ``at``: the host's clock; ``t_s``: since the connection was opened."""

    connection: int
    at: datetime
    t_s: float
    sender: str  # "board", "broker", or "tap" for what is of both
    what: str
    text: str
    fields: dict[str, Any]
    certificates: tuple[bytes, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready; certificates are base64 of their DER."""
        found: dict[str, Any] = {
            "at": self.at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "t_s": round(self.t_s, 6),
            "connection": self.connection,
            "from": self.sender,
            "what": self.what,
            "text": self.text,
            **{key: value for key, value in self.fields.items() if key != "text"},
        }
        if self.certificates:
            found["der"] = [base64.b64encode(der).decode() for der in self.certificates]
        return found

    def __str__(self) -> str:
        clock = f"{self.at:%H:%M:%S}.{self.at.microsecond // 1000:03}Z"
        return f"{clock}  #{self.connection:<3} {self.t_s:8.3f} s  {self.sender:<6}  {self.text}"


@dataclass
class TapConnection:
    """One that the tap carried; ``verdict`` stands when it is over."""

    number: int
    peer: str
    opened_s: float
    conversation: Conversation = field(default_factory=Conversation)
    events: list[TapEvent] = field(default_factory=list)
    alive: bool = True
    verdict: Verdict | None = None
    last_s: float = 0.0
    is_read: bool = True  # False once reading it has failed; its bytes still pass
    # The handshake messages of each side that are plain, as bytes, up to a bound.
    clear: dict[Sender, bytearray] = field(
        default_factory=lambda: {"board": bytearray(), "broker": bytearray()}
    )

    def find(self, what: str, sender: str = "") -> TapEvent | None:
        """The first event of that kind."""
        fits = (e for e in list(self.events) if e.what == what and sender in ("", e.sender))
        return next(fits, None)

    @property
    def alerts(self) -> list[tuple[str, int]]:
        """(sender, number) of each plain one."""
        return [(one.sender, one.number) for one in self.conversation.alerts]


class Tap:
    """Listens on ``(listen_host, port)`` and carries each connection to ``target``.

    A context manager; runs in a thread of its own, in which ``on_event`` is called. Port 0
    takes a free one: see `port`. `relay` can fail the link on command. Errors of `start`:
    ``tap.port-taken``, ``tap.port-privileged``, ``tap.bad-address``.
    """

    def __init__(
        self,
        target: tuple[str, int],
        listen_host: str = "127.0.0.1",
        port: int = 0,
        *,
        on_event: Callable[[TapEvent], None] = lambda _event: None,
        capture: Capture | None = None,
        silence_s: float = SILENCE_S,
    ) -> None:
        self.relay = TcpRelay(target, listen_host, port, observer=self)
        self.connections: list[TapConnection] = []
        self._on_event = on_event
        self._capture = capture
        self._silence_s = silence_s
        self._count = 0
        self._by_id: dict[int, TapConnection] = {}
        self._changed = threading.Condition()

    @property
    def port(self) -> int:
        return self.relay.port

    def start(self) -> Tap:
        """Listen; returns when connections are taken."""
        try:
            self.relay.start()
        except KeyfobHostError as error:
            raise _cannot_listen(self.relay.listen_host, self.relay.port, error) from error
        return self

    def stop(self) -> None:
        """Reset every connection and give the port back; harmless when stopped."""
        self.relay.stop()

    def __enter__(self) -> Tap:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def wait(
        self, is_so: Callable[[list[TapConnection]], Any], timeout_s: float | None = None
    ) -> bool:
        """Wait until ``is_so`` holds of the connections; False when it did not in time."""
        with self._changed:
            return bool(self._changed.wait_for(lambda: is_so(self.connections), timeout_s))

    def report(self) -> str:
        """The latest connections in lines, for a report of a failure."""
        shown = [str(event) for one in self.connections[-_REPORTED:] for event in one.events]
        return "\n".join(shown)

    # -- what the relay tells, in its thread

    def opened(self, connection: Connection, peer: str) -> None:
        self._count += 1
        made = TapConnection(self._count, peer, time.monotonic())
        made.last_s = made.opened_s
        self._by_id[id(connection)] = made
        self._forget_old()
        self.connections.append(made)
        if self._capture:
            self._capture.opened(made.number, peer, self.relay.target)
        self._tell(made, "board", "opened", {"peer": peer})
        asyncio.get_running_loop().call_later(self._silence_s, self._look_for_silence, made)

    def refused(self, connection: Connection, error: OSError) -> None:
        made = self._by_id.pop(id(connection))
        made.alive = False
        host, port = self.relay.target
        why = f"{host}:{port}: {error.strerror or error}"
        self._tell(made, "broker", "refused", {"why": why})

    def passed(self, connection: Connection, direction: Direction, data: bytes) -> None:
        made = self._by_id[id(connection)]
        made.last_s = time.monotonic()
        # Its first bytes are kept by the relay for others: here nothing encrypted is.
        connection.head[direction].clear()
        if made.is_read:
            try:
                self._read(made, _SENDERS[direction], data)
            except Exception as error:  # the bytes have passed and go on passing
                made.is_read = False
                why = f"{type(error).__name__}: {error}"
                self._tell(made, _SENDERS[direction], "unread", {"why": why})

    def ended(self, connection: Connection, direction: Direction, is_reset: bool) -> None:
        made = self._by_id[id(connection)]
        sender = _SENDERS[direction]
        for fact in made.conversation.end(sender, "reset" if is_reset else "fin"):
            self._show(made, fact)
        if self._capture:
            self._capture.ended(made.number, sender, is_reset)
        asyncio.get_running_loop().call_later(_HALF_OPEN_S, self._look_for_end, made)

    def closed(self, connection: Connection) -> None:
        made = self._by_id.pop(id(connection))
        made.verdict = verdict(made.conversation)
        made.alive = False
        self._tell(made, "tap", "summary", made.verdict.as_dict())
        if self._capture:
            self._capture.closed(made.number)

    # -- inside

    def _read(self, made: TapConnection, sender: Sender, data: bytes) -> None:
        records = made.conversation.sides[sender].records
        for item in records.feed(data):
            if isinstance(item, Record):
                if item.fragment and item.content_type == HANDSHAKE:
                    room = _MOST_CLEAR_BYTES - len(made.clear[sender])
                    made.clear[sender] += item.fragment[:room]
                if self._capture:
                    self._capture.sent(made.number, sender, item.wire())
            for fact in made.conversation.take(sender, item):
                self._show(made, fact)
        if self._capture and records.is_foreign:
            self._capture.sent(made.number, sender, bytes(len(data)))

    def _show(self, made: TapConnection, fact: Fact) -> None:
        self._tell(made, fact.sender, fact.what, fact.fields, in_words(fact), fact.certificates)

    def _tell(
        self,
        made: TapConnection,
        sender: str,
        what: str,
        fields: dict[str, Any],
        text: str | None = None,
        certificates: tuple[bytes, ...] = (),
    ) -> None:
        if text is None:
            text = in_words(Fact("board", what, fields))
        event = TapEvent(
            made.number, datetime.now(timezone.utc), time.monotonic() - made.opened_s,
            sender, what, text, fields, certificates,
        )  # fmt: skip
        made.events.append(event)
        self._on_event(event)
        with self._changed:
            self._changed.notify_all()

    def _look_for_silence(self, made: TapConnection) -> None:
        """Once a pause; after the handshake a pause is nothing to be told."""
        if not made.alive or any(side.data_records for side in made.conversation.sides.values()):
            return
        silent_s = time.monotonic() - made.last_s
        wait_s = self._silence_s - silent_s
        if wait_s <= 0:
            self._tell(made, "tap", "silence", {"silent_s": round(silent_s, 1)})
            wait_s = self._silence_s
        asyncio.get_running_loop().call_later(wait_s, self._look_for_silence, made)

    def _look_for_end(self, made: TapConnection) -> None:
        """What is to be said of a connection that one side alone has ended, said once."""
        if made.alive and not any(event.what == "half-open" for event in made.events):
            self._tell(made, "tap", "half-open", verdict(made.conversation).as_dict())

    def _forget_old(self) -> None:
        over = [one for one in self.connections if not one.alive]
        if len(self.connections) >= MOST_CONNECTIONS and over:
            self.connections.remove(over[0])
        if len(self.relay.connections) > _MOST_COUNTED:  # they are small
            self.relay.connections[:] = [one for one in self.relay.connections if one.alive]


def _cannot_listen(host: str, port: int, error: KeyfobHostError) -> KeyfobHostError:
    seen = error.evidence
    if "in use" in seen:
        return KeyfobHostError(
            "tap.port-taken",
            f"port {port} is taken, so the tap cannot listen on it",
            evidence=f"{host}:{port} is held by {who_listens(port)}",
            fix=f"run it again with --listen {port + 1 if port < 65535 else 8884}",
            status=ExitStatus.HOST,
        )
    if "ermission" in seen:
        return KeyfobHostError(
            "tap.port-privileged",
            f"port {port} is for root alone",
            evidence=seen,
            fix="run it again with --listen 8884",
            status=ExitStatus.HOST,
        )
    return KeyfobHostError(
        "tap.bad-address",
        "the tap cannot listen on this address: it is not one of this machine's",
        evidence=seen,
        fix="run it again with --bind 127.0.0.1",
        status=ExitStatus.HOST,
    )
