"""The client's side of an outbox: stored messages go out one at a time, in their order.

Imported when a client has an outbox. What the outbox must do is in `keyfob.mqtt`.
"""

import asyncio

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
        outbox.rewind()
        self._first = self._next()
        if self._first and self._first.awaits:
            # Sent by the program's last life: the broker may know it by this identifier.
            client.kept.inflight.append(self._first)

    def wake(self) -> None:
        """There is something new to send."""
        self._more.set()

    def _next(self):
        found = self._outbox.next()
        if not found:
            return None
        token, topic, payload, qos, retain, packet_id, was_sent, is_released = found
        outgoing = Outgoing(topic, payload, qos, retain)
        outgoing.token = token
        outgoing.packet_id = packet_id
        if was_sent and qos:
            outgoing.awaits = _PUBCOMP if is_released else _PUBREC if qos == 2 else _PUBACK
        return outgoing

    async def run(self) -> None:
        while True:
            try:
                outgoing, self._first = self._first or self._next(), None
            except KeyfobError as error:
                emit_error(error, _RETRY_MS)  # the flash fails
                await asyncio.sleep_ms(_RETRY_MS)
                continue
            if not outgoing:
                self._more.clear()
                await self._more.wait()
                continue
            try:
                need = 0
                if not outgoing.awaits:
                    # Stored under other settings, it may be too large for these.
                    size = len(outgoing.payload)
                    need = self._client.check_fits(outgoing.topic, size, None)
                await self._client.send(outgoing, need)
            except KeyfobError as error:
                emit_error(error)  # refused for good: the ones behind must not wait for it
            while not self._is_done(outgoing):
                await asyncio.sleep_ms(_RETRY_MS)

    def _is_done(self, outgoing: Outgoing) -> bool:
        """Mark it; not on a flash that fails: it would be sent again after a restart."""
        try:
            self._outbox.done(outgoing.token)
            return True
        except KeyfobError as error:
            emit_error(error, _RETRY_MS)
            return False

    def released(self, outgoing: Outgoing) -> None:
        """Its PUBREC came."""
        if outgoing.token is not None:
            self._outbox.released(outgoing.token)
