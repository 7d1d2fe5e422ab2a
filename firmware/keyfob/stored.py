"""The client's side of an outbox: stored messages go out one at a time, in their order.

Imported when a client has an outbox. What the outbox must do is in `keyfob.mqtt`.
"""

import asyncio
import gc

from micropython import const

from keyfob.errors import KeyfobError
from keyfob.events import emit_error
from keyfob.mqtt.state import Outgoing

_PUBACK = const(4)
_PUBREC = const(5)
_PUBCOMP = const(7)
_RETRY_MS = const(10_000)


class Drain:
    """Empties ``outbox`` through ``client``."""

    def __init__(self, client, outbox) -> None:
        self._client = client
        self._outbox = outbox
        self._more = asyncio.Event()
        self._found = None  # what the outbox gave out and nobody has yet: it does so once
        self._payload = None
        outbox.rewind()
        self._first = self._next()
        if self._first and self._first.awaits:
            # Sent by the program's last life: the broker may know it by this identifier.
            client.kept.inflight.append(self._first)

    def wake(self) -> None:
        """There is something new to send."""
        self._more.set()

    def _next(self):
        found = self._found = self._found or self._outbox.next()
        if not found:
            return None
        token, topic, payload, qos, retain, packet_id, was_sent, is_released, properties = found
        outgoing = Outgoing(topic, payload, qos, retain)
        outgoing.token = token
        self._payload = payload  # until the PUBREC is stored, so that it can be sent again
        outgoing.packet_id = packet_id
        if properties:
            outgoing.properties = properties
        if was_sent and qos:
            outgoing.awaits = _PUBCOMP if is_released else _PUBREC if qos == 2 else _PUBACK
        self._found = None
        return outgoing

    async def run(self) -> None:
        outgoing, self._first = self._first, None
        is_over = False
        while True:
            try:
                outgoing = outgoing or self._next()
                if not outgoing:
                    self._more.clear()
                    await self._more.wait()
                    continue
                if not is_over:
                    await self._send(outgoing)
                    is_over = True
                # Not the next one before it is marked: it would be sent again after a restart.
                self._outbox.done(outgoing.token)
                outgoing, self._payload, is_over = None, None, False
                continue
            except (KeyfobError, MemoryError) as error:  # the flash fails, or memory is short
                _tell(error)
            if outgoing and not (outgoing.is_done or outgoing in self._client.kept.inflight):
                outgoing.awaits = 0  # nobody else would send it again
            await asyncio.sleep_ms(_RETRY_MS)

    async def _send(self, outgoing: Outgoing) -> None:
        try:
            need = 0
            if not outgoing.awaits:
                # Stored under other settings, it may be too large for these.
                size = len(outgoing.payload)
                need = self._client.check_fits(outgoing.topic, size, outgoing.properties)
            elif self._client.is_connected():
                self._client.flush_soon()  # memory may have been too short to write it
            await self._client.send(outgoing, need)
        except KeyfobError as error:
            emit_error(error)  # refused for good: the ones behind must not wait for it

    def released(self, outgoing: Outgoing) -> None:
        """Its PUBREC came."""
        if outgoing.token is None:
            return
        try:
            self._outbox.released(outgoing.token)
        except BaseException:
            # After a power cut it would be published again: no PUBREL before it is marked.
            outgoing.awaits = _PUBREC
            outgoing.payload = self._payload
            raise
        self._payload = None


def _tell(error) -> None:
    gc.collect()
    try:
        if isinstance(error, MemoryError):
            error = KeyfobError("tls.no-memory", "outbox: %s" % error)
        emit_error(error, _RETRY_MS)
    except MemoryError:
        pass  # not even enough to tell what failed
