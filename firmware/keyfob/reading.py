"""What a client reads, and whose it is. The middle of `keyfob.client.Client`.

`Reading.read` is the task that reads while there is a connection. Whoever waits for the
broker reads for itself first, as a change of tasks costs more than a message: a publisher by
`_read_now`, an inbox by `take` (the usual case) and `read_inline`. Reading is held up while an
inbox is full (`may_read`, `resume`).

Each PUBLISH goes to the inboxes that it suits (`_deliver`); if there is none, to
`keyfob.early`; in pieces or with properties by `keyfob.streamed`. When nobody needs it any
more, it is acknowledged (`handled`).
"""

import asyncio

from micropython import const

from keyfob import drop
from keyfob.errors import KeyfobError
from keyfob.inbox import Inbox, Message, matches
from keyfob.keeping import Keeping, ticks_ms
from keyfob.mqtt.state import SessionState, since

_PUBLISH = const(3)
_PUBACK = const(4)
_PUBREC = const(5)
_SUBACK = const(9)
_UNSUBACK = const(11)
_PART = const(16)
_TURN_MS = const(20)  # after that long without any change of tasks, others get a turn
_TICKS_MASK = const(0x3FFF_FFFF)
_TOLD = const(-1)  # as in `keyfob.early`


class Reading(Keeping):
    """The middle of `keyfob.client.Client`, which makes what is only annotated here."""

    kept: SessionState
    attempts: int
    inboxes: list[Inbox]
    unwanted: list
    full: int
    _hold_ticks: int
    _early: Inbox | None
    _resumed: asyncio.Event
    _turn_ms: int
    _route_topic: str
    _route: list[Inbox]
    _sole: Inbox | None
    _is_waiting: bool
    _reader: "Any"  # type: ignore  # noqa: F821
    _drain: "Any"  # type: ignore  # noqa: F821

    def take(self, inbox: Inbox):
        """The next message for ``inbox``, which is empty, in the usual case: it is there
        already, of QoS 0, for nobody else. None if not."""
        state, topic = self.session, self._route_topic
        if self._sole is not inbox or not self._is_up or self.full or self.incoming:
            return None
        if state.topic == topic:
            payload = state.next_usual()
            if payload is None and (ticks_ms() - self._turn_ms) & _TICKS_MASK < _TURN_MS:
                try:
                    state.received(self.stream.read_now(state.room()) or 0)
                except KeyfobError as error:
                    self.fail(error)
                payload = state.next_usual()
            if payload is not None:
                return Message(topic, payload)
        return None

    async def read(self) -> None:
        """While there is a connection."""
        try:
            while self._is_up:  # the program may leave while something comes
                if not self.may_read():
                    self._resumed.clear()
                    await self._resumed.wait()
                elif self._read_now():
                    await asyncio.sleep_ms(0)  # those for whom something came
                    self._turn_ms = ticks_ms()
                elif self._is_up:
                    self._is_waiting = True
                    await self.stream.readable()
                    self._is_waiting = False
                    self._turn_ms = ticks_ms()
        except MemoryError as error:
            self.fail(KeyfobError("tls.no-memory", "reading: %s" % error))

    async def _read_on(self) -> None:
        """Go on where others got a turn, as what the engine holds makes nothing readable."""
        is_more = True
        while is_more:
            await asyncio.sleep_ms(0)
            self._turn_ms = ticks_ms()
            is_more = self._is_up and self._read_now()
        self._reader = None

    def read_inline(self) -> bool:
        """Read what is there already, for a task that would wait for it otherwise.

        True if others must get a turn first.
        """
        self.resume()
        if self._is_up:
            self._read_now()
        now_ms = ticks_ms()
        if since(self._turn_ms, now_ms) > _TURN_MS:
            self._turn_ms = now_ms
            return True
        return False

    def resume(self) -> None:
        """Read on, if reading was held up."""
        self._resumed.set()

    def may_read(self) -> bool:
        """Not while an inbox is full or a piece of payload is not taken, unless the
        application waits for something that comes behind."""
        if self.incoming and self.incoming.chunk:
            return False
        return not self.full or bool(self.session.inflight or self.session.asked)

    def _read_now(self) -> bool:
        """Read and handle without waiting; whether there was anything."""
        state, came, is_drained = self.session, False, False
        try:
            while not (self.full or self.incoming) or self.may_read():
                event = state.next_event()
                if event == _PUBLISH:
                    self._deliver(state)
                elif event:
                    self._handle(event)
                elif is_drained:
                    break
                elif came and since(self._turn_ms, ticks_ms()) > _TURN_MS:
                    if self._is_waiting and not self._reader:
                        self._reader = asyncio.create_task(self._read_on())
                    break
                else:
                    room = state.room()
                    count = self.stream.read_now(room)
                    if not count:
                        break
                    came = True
                    state.received(count)
                    # The engine has no more of that record; the next makes it readable.
                    is_drained = count < len(room)
            if state.replies and not self.flush_now():
                self.flush_soon()
        except KeyfobError as error:
            self.fail(error)
        except MemoryError as error:
            self.fail(KeyfobError("tls.no-memory", "reading: %s" % error))
        return came

    def _handle(self, event: int) -> None:
        state = self.session
        if event == _PUBACK:
            self.attempts = 0  # the broker does not just hang up, see `keyfob.backoff`
            self.finish(state.outgoing)
        elif event == _PUBREC:
            if self._drain:
                self._drain.released(state.outgoing)
        elif event == _PART:
            if self.incoming:
                self.incoming.give(state.payload)
        elif event in (_SUBACK, _UNSUBACK):
            from keyfob.subscription import answered

            self.attempts = 0
            answered(self, event)

    def _deliver(self, state) -> None:
        topic, receipt = state.topic, state.receipt
        if receipt and self.incoming and self.incoming.awaited is not None:
            self.kept.forget(receipt)  # it comes again with the one before, in their order
            return
        if topic != self._route_topic:
            self._route = []
            for inbox in self.inboxes:
                if matches(inbox.topic_filter, topic):
                    self._route.append(inbox)
            self._route_topic = topic
            self._sole = self._route[0] if len(self._route) == 1 else None
        if state.left or state.properties:
            from keyfob.streamed import deliver

            message = deliver(self, self._route)
        else:
            message = Message(topic, state.payload, state.qos, state.retain)
            message.receipt = receipt
            for inbox in self._route:
                inbox.put(message)
        if receipt and not message.holders:
            if not (self._route or state.left or self.unwanted) and self._hold_ticks != _TOLD:
                try:
                    from keyfob.early import hold
                except MemoryError:
                    self.kept.forget(receipt)  # or it would be known when it comes again
                    raise
                hold(self, message)
                del hold
                if not self._early:  # it was told: nothing comes to be held any more
                    drop("early")
            if not message.holders:
                self.kept.handled(receipt)

    def forget_route(self) -> None:
        """The inboxes changed."""
        self._route_topic = ""

    def handled(self, message: Message) -> None:
        """Nobody needs ``message`` any more: acknowledge it."""
        if self.incoming is message:
            message.chunk = None
            message.is_skipped = True
            self.resume()
        if message.receipt:
            self.kept.handled(message.receipt)
            if self._is_up:
                self.flush_soon()
