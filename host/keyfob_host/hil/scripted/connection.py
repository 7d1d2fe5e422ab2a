"""One connection of a scripted broker: TLS, then packets in and answers out, by the rules."""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

from keyfob_host.hil.scripted.packets import (
    VERSION_5,
    MalformedError,
    Packet,
    PacketReader,
    encode,
)
from keyfob_host.hil.scripted.rules import How, Rules
from keyfob_host.hil.scripted.tls import RECORD_BYTES, TlsEnd, alert_in

_TICK_S = 0.2
_CLOSE_S = 5.0
_LINE = 300  # characters of a line of evidence
# What answers what: a packet of the client, and the server's own.
_ANSWER = {
    "PUBREC": "PUBREL",
    "PUBREL": "PUBCOMP",
    "PINGREQ": "PINGRESP",
    "UNSUBSCRIBE": "UNSUBACK",
    "SUBSCRIBE": "SUBACK",
}


@dataclass(frozen=True)
class Seen:
    """A control packet that came. ``connection``: its number, from 1; ``at_s``: when, by
    `time.monotonic`."""

    connection: int
    at_s: float
    packet: Packet

    def __str__(self) -> str:
        return f"#{self.connection} {self.packet}"


class Hub(Protocol):
    """What a connection needs of its broker; for any thread."""

    rules: Rules

    def came(self, seen: Seen) -> str:
        """``seen`` is recorded; why the connection has to end for it, or ""."""

    def changed(self) -> None:
        """Something is to be seen that was not before."""

    def connack_for(self, connection: ScriptedConnection, connect: Packet) -> Packet:
        """The honest answer to ``connect``."""

    def subscribed(self, connection: ScriptedConnection, packet: Packet) -> None:
        """``packet`` adds or removes filters."""


class ScriptedConnection:
    """Number ``number``, from 1. Runs in a thread of its own; what it saw is for any.

    ``opened_s``, ``ended_s`` (None while it is open) by `time.monotonic`; ``end`` says in
    words who ended it. ``alert``: the TLS alert the client sent, ``unknown_ca``, or "".
    ``tls_error``: why the handshake failed. ``connect``: its CONNECT; ``is_accepted``: a
    CONNACK let it in. ``violation``: what it broke of the protocol.
    """

    def __init__(self, number: int, sock: socket.socket, context: ssl.SSLContext, hub: Hub) -> None:
        self.number = number
        self.opened_s = time.monotonic()
        self.ended_s: float | None = None
        self.end = ""
        self.tls_version = self.suite = self.alert = self.tls_error = self.violation = ""
        self.connect: Packet | None = None
        self.is_accepted = False
        self.lines: list[tuple[float, str]] = []
        self._hub = hub
        self._tls = TlsEnd(sock, context)
        self._reader = PacketReader()
        self._due: list[tuple[float, Callable[[], None]]] = []
        self._asked: tuple[How, str] | None = None  # to end, by another thread
        self._waker, self._woken = socket.socketpair()
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"scripted-#{number}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def join(self, timeout_s: float) -> None:
        if self._thread.is_alive():
            self._thread.join(timeout_s)

    @property
    def is_open(self) -> bool:
        return self.ended_s is None

    @property
    def client_id(self) -> str | None:
        """As its CONNECT has it; None before that."""
        return self.connect.client_id if self.connect else None

    @property
    def version(self) -> int:
        """4 for MQTT 3.1.1, 5 for 5.0, 0 before its CONNECT."""
        return self.connect.version if self.connect else 0

    # -- what is sent

    def send(self, *packets: Packet, record_bytes: int = RECORD_BYTES) -> None:
        """Send ``packets`` in one piece; what the client no longer takes is no error."""
        for packet in packets:
            self.note(f"sent {packet}")
        version = self.version or 4
        self.send_bytes(b"".join(encode(one, version) for one in packets), record_bytes)

    def send_bytes(self, data: bytes, record_bytes: int = RECORD_BYTES) -> None:
        """Send ``data`` in records of ``record_bytes``."""
        try:
            self._tls.write(data, record_bytes)
        except OSError as error:
            self.close("cut", f"the device took no more: {error}")

    def close(self, how: How, why: str, code: int = 0) -> None:
        """End it; harmless when it is over."""
        if how == "disconnect" and self.is_open:
            if self.version == VERSION_5:
                self.send(Packet("DISCONNECT", code=code))
            how = "fin"
        if threading.current_thread() is self._thread:
            self._over(how, why)
        elif self.is_open:
            # Its own thread closes the socket that it waits for.
            self._asked = (how, why)
            with contextlib.suppress(OSError):
                self._waker.send(b"!")
            self._is_over.wait(_CLOSE_S)

    def note(self, text: str) -> None:
        """A line of evidence."""
        now_s = time.monotonic()
        shown = text if len(text) <= _LINE else text[:_LINE] + " …"
        self.lines.append((now_s, f"#{self.number} {now_s - self.opened_s:8.3f} s  {shown}"))

    # -- its thread

    def _run(self) -> None:
        self.note("opened")
        try:
            if not self._met("OPEN") and self._shake_hands() and not self._met("TLS"):
                self._serve()
        except MalformedError as error:
            self.violation = str(error)
            self._refuse_malformed(error)
        except ssl.SSLError as error:
            self.alert = alert_in(error)
            self._over("cut", f"TLS failed: {error.reason or error}")
        except OSError as error:
            is_reset = isinstance(error, ConnectionResetError)
            self._over("cut", "the device reset it" if is_reset else f"it broke: {error}")
        finally:
            self._over("cut", "it ended")
            self._tls.release()
            self._waker.close()
            self._woken.close()

    def _shake_hands(self) -> bool:
        try:
            while not self._tls.handshake():
                self._wait()
                if not self._tls.receive():
                    self.tls_error = "the device left during the handshake"
                    self._over("cut", self.tls_error)
                    return False
        except ssl.SSLError as error:
            self.alert, self.tls_error = alert_in(error), error.reason or str(error)
            said = f"alert {self.alert} from the device" if self.alert else self.tls_error
            self._over("cut", f"TLS failed: {said}")
            return False
        self.tls_version, self.suite = self._tls.version, self._tls.suite
        self.note(f"{self.tls_version} with {self.suite}")
        self._hub.changed()
        return True

    def _serve(self) -> None:
        while self.is_open:
            for packet in self._reader.feed(self._tls.read()):
                self._take(packet)
                if not self.is_open:
                    return
            if self._tls.is_ended:
                how = "close_notify" if self._tls.has_close_notify else "no close_notify"
                self._over("fin", f"the device closed it ({how})")
                return
            self._wait()
            self._tls.receive()

    def _wait(self) -> None:
        """Until something came on the socket; meanwhile do what is due."""
        while self.is_open:
            now_s = time.monotonic()
            for item in [one for one in self._due if one[0] <= now_s]:
                self._due.remove(item)
                item[1]()
            next_s = min((at_s for at_s, _ in self._due), default=now_s + _TICK_S) - now_s
            sources = [self._tls.fileno(), self._woken.fileno()]
            ready, _, _ = select.select(sources, [], [], max(0.0, min(next_s, _TICK_S)))
            if self._asked:
                self._over(*self._asked)
            elif ready:
                return
        raise OSError("it was ended")

    # -- packets

    def _take(self, packet: Packet) -> None:
        if packet.kind == "CONNECT":
            self.connect = packet
        self.note(f"came {packet}")
        trouble = self._hub.came(Seen(self.number, time.monotonic(), packet))
        if trouble:
            self._over("fin", trouble)
        elif not self._met(packet.kind, lambda: self._answer(packet)):
            self._answer(packet)

    def _met(self, moment: str, answer: Callable[[], None] | None = None) -> bool:
        """Whether a rule ends the connection at ``moment``, which is then not answered any more."""
        rule = self._hub.rules.take(moment, "close")
        if rule is None:
            return False

        def end() -> None:
            self.close(rule.how, f"the script ended it at {moment}", rule.code)

        if rule.answered and answer:
            answer()
        if rule.after_s:
            self._due.append((time.monotonic() + rule.after_s, end))
            return answer is not None
        end()
        return True

    def _answer(self, packet: Packet) -> None:
        """As an honest broker does."""
        kind = packet.kind
        if kind == "CONNECT":
            self._reply(self._hub.connack_for(self, packet))
        elif kind == "PUBLISH" and packet.qos:
            name = "PUBACK" if packet.qos == 1 else "PUBREC"
            self._reply(Packet(name, packet_id=packet.packet_id))
        elif kind in ("SUBSCRIBE", "UNSUBSCRIBE"):
            self._hub.subscribed(self, packet)
            codes = tuple(options & 3 for _topic, options in packet.filters)
            self._reply(Packet(_ANSWER[kind], packet_id=packet.packet_id, codes=codes))
        elif kind in _ANSWER:
            self._reply(Packet(_ANSWER[kind], packet_id=packet.packet_id))
        elif kind == "DISCONNECT":
            self._over("fin", "the device said DISCONNECT")

    def _reply(self, packet: Packet) -> None:
        rule = self._hub.rules.take(packet.kind, "withhold", "delay", "refuse")
        if rule is None:
            self._send_reply(packet)
        elif rule.deed == "withhold":
            self.note(f"withheld {packet.kind}")
        elif rule.deed == "delay":
            self._due.append((time.monotonic() + rule.after_s, lambda: self._send_reply(packet)))
        else:
            self._send_reply(_refusing(packet, rule.code, rule.properties))

    def _send_reply(self, packet: Packet) -> None:
        if packet.kind == "CONNACK":
            self.is_accepted = not packet.code
        self.send(packet)
        self._hub.changed()
        if packet.kind == "CONNACK" and packet.code:
            self._over("fin", f"refused with code 0x{packet.code:02x}")

    def _refuse_malformed(self, error: MalformedError) -> None:
        self.note(f"violation: {error}")
        if self._reader.version == VERSION_5:
            self.send(Packet("DISCONNECT", code=error.code))
        elif error.code == 0x84:  # 3.1.1's return code 1, which every version understands
            self.send(Packet("CONNACK", code=1))
        self._over("fin", f"the device broke the protocol: {error}")

    def _over(self, how: How, why: str) -> None:
        """By its own thread; the first reason is the one that is told."""
        if self.ended_s is not None:
            return
        self.end = why
        self._tls.close(how)
        self.note(f"over: {why}")
        self.ended_s = time.monotonic()
        self._is_over.set()
        self._hub.changed()


def _refusing(packet: Packet, code: int, properties: dict[str, object]) -> Packet:
    """``packet`` with ``code``, for each filter where it has several."""
    if packet.codes:
        return replace(packet, codes=(code,) * len(packet.codes), properties=properties)
    return replace(packet, code=code, session_present=False, properties=properties)
