"""A broker for one device that does as a case says: withholds answers, refuses, breaks off.

What mosquitto cannot be made to do. TLS 1.2 and 1.3 with a client certificate, MQTT 3.1.1
and 5.0. Without rules it is an honest broker: it takes sessions up again, acknowledges what
comes and answers pings. Whatever a device sends is read strictly and recorded, each control
packet with its connection and the moment it came.

What it does not do: route a device's messages to anybody, send what was not acknowledged
again on a new connection, fire wills, look at user names and passwords, answer AUTH, end a
connection whose keep alive has run out, check the client certificate's name against the
client identifier. Limits: packets of `MOST_PACKET_BYTES`; in its life `MOST_PACKETS` packets,
`MOST_BYTES` in them and `MOST_CONNECTIONS` connections, of which one is open at a time per
client identifier.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from keyfob_host.hil.evidence import Evidence
from keyfob_host.hil.scripted.connection import ScriptedConnection, Seen
from keyfob_host.hil.scripted.packets import MOST_PACKET_BYTES, VERSION_5, Packet, Properties
from keyfob_host.hil.scripted.record import Record
from keyfob_host.hil.scripted.rules import How, Rule, Rules
from keyfob_host.hil.scripted.tls import RECORD_BYTES
from keyfob_host.pki.identity import Identity

__all__ = ["MOST_PACKET_BYTES", "How", "Packet", "Rule", "ScriptedBroker", "Seen"]

MOST_PACKETS = 20_000
MOST_BYTES = 64 << 20
MOST_CONNECTIONS = 2_000
_JOIN_S = 5.0
_NO_IDENTIFIER = 2  # return code of 3.1.1: identifier rejected
_VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}


@dataclass
class _Session:
    """``filters`` with their QoS; ``is_kept``: it outlives its connection."""

    filters: dict[str, int] = field(default_factory=dict)
    is_kept: bool = False


class ScriptedBroker(Record):
    """``identity`` is shown, and clients must have a certificate that ``identity.anchors``
    stand behind. A context manager, or `start` and `stop`; `port` is a free one of the
    loopback's, since devices come through the bench's relay.

    Packets and answers are called by their names in the specification (``"CONNECT"``,
    ``"SUBACK"``). A rule acts ``times`` times, over all connections, or always (None).
    """

    def __init__(
        self, identity: Identity, evidence: Evidence, *, versions: Sequence[str] = ("1.2", "1.3")
    ) -> None:
        super().__init__(evidence)
        self._versions = tuple(versions)
        self._context = _context(identity, self._versions)
        self._listener: socket.socket | None = None
        self._accepting: threading.Thread | None = None
        self._sessions: dict[str, _Session] = {}
        self._packet_id = self._bytes = 0
        self.rules = Rules()
        self.port = 0
        self.session_present: bool | None = None  # None: what is true
        self.connack_properties: Properties = {}

    # -- life

    def start(self) -> ScriptedBroker:
        """Listen; returns when connections are taken."""
        self._listener = socket.create_server(("127.0.0.1", self.port))
        self.port = self._listener.getsockname()[1]
        self._accepting = threading.Thread(
            target=self._accept, args=(self._listener,), name=f"scripted-{self.port}", daemon=True
        )
        self._accepting.start()
        return self

    def stop(self) -> None:
        """Reset every connection and give the port back; harmless when stopped."""
        listener, self._listener = self._listener, None
        if listener is None:
            return
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)  # close alone leaves accept waiting
        listener.close()
        if self._accepting is not None:
            self._accepting.join(_JOIN_S)
        for one in self.connections:
            one.close("reset", "the bench ended it")
            one.join(_JOIN_S)

    def __enter__(self) -> ScriptedBroker:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def show(self, identity: Identity) -> None:
        """Show ``identity`` to connections from now on, and want clients of its anchors."""
        self._context = _context(identity, self._versions)

    # -- rules

    def withhold(self, answer: str, times: int | None = None) -> Rule:
        """Do not send ``answer``: CONNACK, PUBACK, PUBREC, PUBREL, PUBCOMP, SUBACK, UNSUBACK
        or PINGRESP."""
        return self.rules.add(Rule("withhold", answer, times))

    def delay(self, answer: str, seconds: float, times: int | None = None) -> Rule:
        """Send ``answer`` so much later."""
        return self.rules.add(Rule("delay", answer, times, after_s=seconds))

    def refuse(
        self,
        answer: str,
        code: int,
        times: int | None = None,
        properties: Mapping[str, object] | None = None,
    ) -> Rule:
        """Have ``answer`` say return code or reason code ``code``, of which only MQTT 5.0 has
        any in a PUBACK and its like; after a refusing CONNACK the connection is closed."""
        return self.rules.add(
            Rule("refuse", answer, times, code=code, properties=dict(properties or {}))
        )

    def close(
        self,
        on: str,
        how: How = "fin",
        times: int | None = None,
        *,
        skip: int = 0,
        answered: bool = False,
        after_s: float = 0.0,
        code: int = 0x8B,
    ) -> Rule:
        """End the connection when packet ``on`` came, without an answer to it.

        ``on`` may also be ``"OPEN"``, before TLS begins, and ``"TLS"``, after its handshake.
        ``skip``: so many of them go by before. ``answered``: the answer is sent first.
        ``after_s``: so much later; meanwhile everything goes on. ``how``: ``"fin"`` with
        close_notify, ``"cut"`` without one, ``"reset"`` by RST, ``"disconnect"`` with a
        DISCONNECT of reason ``code`` where the protocol has one (5.0), then as ``"fin"``.
        """
        return self.rules.add(
            Rule("close", on, times, skip=skip, how=how, answered=answered, after_s=after_s,
                 code=code)
        )  # fmt: skip

    def honest(self) -> None:
        """Take all rules back, and what was set of the CONNACK."""
        self.rules.clear()
        self.session_present = None
        self.connack_properties = {}

    # -- what is sent without being asked for

    def publish(
        self,
        topic: str,
        payload: bytes,
        qos: int = 0,
        *,
        retain: bool = False,
        dup: bool = False,
        packet_id: int | None = None,
        properties: Mapping[str, object] | None = None,
        record_bytes: int = RECORD_BYTES,
    ) -> int:
        """Send a message to the connected device; its packet identifier (0 for QoS 0).

        ``packet_id``: a certain one, as for sending again. ``record_bytes``: how much plain
        text goes into a TLS record at most. Whether the device subscribed is not asked.
        """
        if packet_id is None:
            packet_id = self.next_packet_id() if qos else 0
        packet = Packet(
            "PUBLISH", packet_id=packet_id, topic=topic, payload=payload, qos=qos,
            retain=retain, dup=dup, properties=dict(properties or {}),
        )  # fmt: skip
        self.live().send(packet, record_bytes=record_bytes)
        return packet_id

    def send(self, *packets: Packet, record_bytes: int = RECORD_BYTES) -> None:
        """Send ``packets`` in one piece: together they fill records of ``record_bytes``."""
        self.live().send(*packets, record_bytes=record_bytes)

    def send_bytes(self, data: bytes, record_bytes: int = RECORD_BYTES) -> None:
        """Send ``data`` whatever it is."""
        self.live().send_bytes(data, record_bytes)

    def disconnect(self, how: How = "fin", code: int = 0x8B) -> None:
        """End the connections that are open; ``how`` as for `close`."""
        for one in self.connections:
            one.close(how, "the script ended it", code)

    def subscriptions(self) -> dict[str, int]:
        """The topic filters, with their QoS, of the session that was taken up last."""
        with self._changed:
            accepted = [one.client_id or "" for one in self.connections if one.is_accepted]
            session = self._sessions.get(accepted[-1]) if accepted else None
            return dict(session.filters) if session else {}

    def next_packet_id(self) -> int:
        """One that was not used for a while."""
        self._packet_id = self._packet_id % 0xFFFF + 1
        return self._packet_id

    # -- inside

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                sock, _peer = listener.accept()
            except OSError:
                return  # `stop`
            with self._changed:
                if len(self.connections) >= MOST_CONNECTIONS:
                    sock.close()
                    continue
                number = len(self.connections) + 1
                one = ScriptedConnection(number, sock, self._context, self)
                self.connections.append(one)
                self._changed.notify_all()
            one.start()

    def came(self, seen: Seen) -> str:
        """A connection records ``seen``; why it has to end for it, or ""."""
        with self._changed:
            self._bytes += seen.packet.size
            if len(self.packets) >= MOST_PACKETS or self._bytes > MOST_BYTES:
                return f"the scripted broker keeps {MOST_PACKETS} packets, {MOST_BYTES} bytes"
            self.packets.append(seen)
            self._changed.notify_all()
        return ""

    def changed(self) -> None:
        """A connection tells that something is to be seen which was not before."""
        with self._changed:
            self._changed.notify_all()

    def connack_for(self, connection: ScriptedConnection, connect: Packet) -> Packet:
        """The honest answer to ``connect``, which ends an older connection of that client."""
        for one in self.connections:
            if one is not connection and one.client_id == connect.client_id:
                one.close("disconnect", f"#{connection.number} took it over", 0x8E)
        properties = dict(self.connack_properties)
        client_id = connect.client_id
        if not client_id and connect.version == VERSION_5:
            client_id = f"scripted-{connection.number}"
            properties.setdefault("assigned-client-identifier", client_id)
        elif not client_id and not connect.clean_start:
            return Packet("CONNACK", code=_NO_IDENTIFIER)
        with self._changed:
            old = self._sessions.get(client_id)
            is_present = old is not None and old.is_kept and not connect.clean_start
            session = old if is_present and old else _Session()
            session.is_kept = (
                connect.properties.get("session-expiry-interval", 0) > 0
                if connect.version == VERSION_5
                else not connect.clean_start
            )
            self._sessions[client_id] = session
        if self.session_present is not None:
            is_present = self.session_present
        return Packet("CONNACK", session_present=is_present, properties=properties)

    def subscribed(self, connection: ScriptedConnection, packet: Packet) -> None:
        """``packet`` adds filters to the session of ``connection``, or removes them."""
        with self._changed:
            session = self._sessions.setdefault(connection.client_id or "", _Session())
            for topic_filter, options in packet.filters:
                if packet.kind == "SUBSCRIBE":
                    session.filters[topic_filter] = options & 3
                else:
                    session.filters.pop(topic_filter, None)


def _context(identity: Identity, versions: Sequence[str]) -> ssl.SSLContext:
    """A server's that shows ``identity`` and requires a certificate of its anchors."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = min(_VERSIONS[one] for one in versions)
    context.maximum_version = max(_VERSIONS[one] for one in versions)
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(cadata=identity.ca_pem().decode())
    with TemporaryDirectory(prefix="keyfob-") as folder:  # OpenSSL takes a key from a file only
        files = identity.write(Path(folder) / "identity")
        context.load_cert_chain(files / "chain.pem", files / "key.pem")
    return context
