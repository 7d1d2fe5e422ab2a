"""A TCP relay between a board and a server, which can make the link fail.

It stands on the host, so the same faults (`relay_fault`) work for a real board and a
virtual one. The relay looks at no content; it keeps the first bytes of each direction
(`Connection.head`), and shows an `Observer` what passes, for who wants to judge what was
sent. It does not model packet loss or reordering: TCP hides both from its users, who see
them as a delay or a stall.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import Callable
from typing import Protocol, TypeVar

from keyfob_host.errors import ExitStatus, KeyfobHostError
from keyfob_host.relay_fault import Direction, Fault
from keyfob_host.relay_link import Connection, Link, address_of, reset_stream
from keyfob_host.relay_streams import connect, serve

__all__ = ["Connection", "Direction", "Fault", "Observer", "TcpRelay"]

_CHUNK_BYTES = 16384
_END_S = 2.0
_TICK_S = 0.05  # a throttled link passes its bytes in portions this far apart
_PIECE_S = 0.002  # so long after each piece of a split, that the receiver reads it alone
_DIRECTIONS: tuple[Direction, Direction] = ("up", "down")
_Result = TypeVar("_Result")


class Observer(Protocol):
    """Who is told what passes, in the relay's thread: it must neither wait nor raise."""

    def opened(self, connection: Connection, peer: str) -> None:
        """The client at ``peer`` is connected to the relay."""

    def refused(self, connection: Connection, error: OSError) -> None:
        """The server took no connection."""

    def passed(self, connection: Connection, direction: Direction, data: bytes) -> None:
        """``data`` was sent on."""

    def ended(self, connection: Connection, direction: Direction, is_reset: bool) -> None:
        """The sender of ``direction`` says no more, by FIN or by RST."""

    def closed(self, connection: Connection) -> None:
        """Both sides are over."""


class TcpRelay:
    """Listens on ``(listen_host, port)`` and carries each connection to ``target``.

    A context manager; runs in a thread of its own. Port 0 takes a free one: see
    `port`. Errors: `KeyfobHostError` ``relay.cannot-listen``.
    """

    def __init__(
        self,
        target: tuple[str, int],
        listen_host: str = "127.0.0.1",
        port: int = 0,
        observer: Observer | None = None,
    ) -> None:
        self.target = target
        self._observer = observer
        self.listen_host = listen_host
        self.port = port
        self.connections: list[Connection] = []
        self._fault: Fault | None = None
        self._links: set[Link] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._changed: asyncio.Event | None = None
        self._is_ending = False

    # -- life

    def start(self) -> TcpRelay:
        """Listen; returns when connections are taken."""
        self._is_ending = False
        listener = self._listen()
        self.port = listener.getsockname()[1]
        ready = threading.Event()
        self._thread = threading.Thread(
            target=self._run, args=(listener, ready), name=f"relay-{self.port}", daemon=True
        )
        self._thread.start()
        ready.wait()
        return self

    def stop(self) -> None:
        """Reset every connection and give the port back; harmless when stopped."""
        loop, thread = self._loop, self._thread
        if loop is None or thread is None:
            return
        with contextlib.suppress(RuntimeError):  # the loop ended already
            loop.call_soon_threadsafe(loop.stop)
        thread.join()
        self._loop = self._thread = None

    def __enter__(self) -> TcpRelay:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    # -- what a test does to the link

    def fail(self, fault: Fault) -> None:
        """Put ``fault`` in force, in place of any other, for live and for new connections."""
        self._in_loop(lambda: self._apply(fault))

    def clear(self) -> None:
        """Let everything pass again; a stalled connection goes on with what it held."""
        self._in_loop(lambda: self._apply(None))

    def cut(self) -> int:
        """Reset the connections that live now, and only those; how many there were."""
        return self._in_loop(self._cut_all)

    # -- what it saw

    @property
    def live(self) -> int:
        """Connections open now."""
        return sum(connection.alive for connection in self.connections)

    def bytes_passed(self, direction: Direction) -> int:
        """Bytes carried since the start, over all connections."""
        return sum(connection.passed[direction] for connection in self.connections)

    def summary(self) -> str:
        """A line for a report of a failure."""
        return (
            f"{self.listen_host}:{self.port} -> {self.target[0]}:{self.target[1]}: "
            f"{len(self.connections)} connections, {self.live} live, "
            f"{self.bytes_passed('up')} bytes up, {self.bytes_passed('down')} bytes down, "
            f"fault: {self._fault or 'none'}"
        )

    # -- inside

    def _listen(self) -> socket.socket:
        family = socket.AF_INET6 if ":" in self.listen_host else socket.AF_INET
        listener = socket.socket(family, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((self.listen_host, self.port))
        except OSError as error:
            listener.close()
            raise KeyfobHostError(
                "relay.cannot-listen",
                "the relay between board and broker cannot listen",
                evidence=f"{self.listen_host}:{self.port}: {error.strerror or error}",
                fix="ip -brief address  # then give one of this host's own addresses",
                status=ExitStatus.HOST,
            ) from error
        listener.listen(16)
        return listener

    def _run(self, listener: socket.socket, ready: threading.Event) -> None:
        loop = asyncio.new_event_loop()
        self._loop = loop
        self._changed = asyncio.Event()
        server = loop.run_until_complete(serve(self._carry, listener, limit=_CHUNK_BYTES))
        loop.call_soon(ready.set)
        try:
            loop.run_forever()
        finally:
            server.close()
            self._is_ending = True  # for a connection that is on its way onward
            self._apply(None)
            self._cut_all()
            # A reset connection ends its tasks by itself; cancelling would have asyncio's
            # streams log an error for each.
            carrying = asyncio.all_tasks(loop)
            if carrying:
                loop.run_until_complete(asyncio.wait(carrying, timeout=_END_S))
            loop.close()

    def _in_loop(self, action: Callable[[], _Result]) -> _Result:
        """Do ``action`` in the relay's thread and wait for its result."""
        if self._loop is None:
            raise RuntimeError("the relay is not running")

        async def call() -> _Result:
            return action()

        return asyncio.run_coroutine_threadsafe(call(), self._loop).result(timeout=10)

    def _apply(self, fault: Fault | None) -> None:
        self._fault = fault
        if self._changed is not None:
            self._changed.set()  # wakes whoever waits in a stall or a delay
            self._changed = asyncio.Event()
        # A pump that waits for bytes would not notice until the next one comes.
        for link in list(self._links):
            for direction in _DIRECTIONS:
                if fault and fault.acts_on(direction, link.connection.passed[direction]):
                    link.close_by(fault, direction)

    def _cut_all(self) -> int:
        links = list(self._links)
        for link in links:
            link.reset()
        return len(links)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = Connection(started_s=time.monotonic())
        self.connections.append(connection)
        if self._observer:
            self._observer.opened(connection, address_of(writer))
        try:
            onward = await self._connect()
        except OSError as error:  # nobody listens behind the relay: a reset tells the client
            reset_stream(writer)
            connection.alive = False
            if self._observer:
                self._observer.refused(connection, error)
            return
        link = Link(connection, client=writer, server=onward[1])
        self._links.add(link)
        if self._is_ending:
            link.reset()
        up = asyncio.ensure_future(self._pump(link, "up", reader, onward[1]))
        down = asyncio.ensure_future(self._pump(link, "down", onward[0], writer))
        try:
            if not all(await asyncio.gather(up, down)):
                link.reset()
        except OSError:  # one side reset its connection: pass that on
            link.reset()
        finally:
            for one in (up, down):
                one.cancel()
            link.finish()
            self._links.discard(link)
            if self._observer:
                self._observer.closed(connection)

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Connect onward; a subclass may have its own way."""
        return await connect(self.target, limit=_CHUNK_BYTES)

    async def _pump(
        self,
        link: Link,
        direction: Direction,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> bool:
        """Carry one direction to its end, through whatever fault is in force.

        False where the receiver took no more. What it said before that is still to be
        carried the other way, so this is no error.
        """
        while data := await self._read(link, direction, reader):
            while data:
                part = await self._portion(link, direction, data)
                if part is None:
                    return True
                link.count(direction, part)  # first: the receiver may ask as soon as it has it
                writer.write(part)
                if self._observer and part:
                    self._observer.passed(link.connection, direction, part)
                try:
                    await writer.drain()
                except OSError:
                    return False
                data = data[len(part) :]
                if self._fault and self._fault.kind == "split":
                    await self._interrupted(_PIECE_S)
        try:
            if not writer.is_closing() and writer.can_write_eof():
                writer.write_eof()
        except OSError:
            return False
        return True

    async def _read(self, link: Link, direction: Direction, reader: asyncio.StreamReader) -> bytes:
        """The next bytes; none at the end."""
        try:
            data = await reader.read(_CHUNK_BYTES)
        except OSError:
            self._tell_end(link, direction, is_reset=True)
            raise
        if not data:
            self._tell_end(link, direction, is_reset=False)
        return data

    def _tell_end(self, link: Link, direction: Direction, *, is_reset: bool) -> None:
        if self._observer and not link.was_reset:  # else it was us
            self._observer.ended(link.connection, direction, is_reset)

    async def _portion(self, link: Link, direction: Direction, data: bytes) -> bytes | None:
        """How much of ``data`` may pass now; empty to look again, None when it is over."""
        fault, passed = self._fault, link.connection.passed[direction]
        if fault is None or fault.direction not in (direction, "both"):
            return data
        if not fault.acts_on(direction, passed):
            return data[: fault.at_byte - passed]
        if link.close_by(fault, direction):
            return None
        if fault.kind == "throttle":
            part = data[: max(1, int(fault.bytes_per_s * _TICK_S))]
            return part if not await self._interrupted(len(part) / fault.bytes_per_s) else b""
        if fault.kind == "split":
            return data[: fault.piece_bytes]
        if fault.kind == "delay":
            return data if not await self._interrupted(fault.delay_s) else b""
        await self._interrupted(None)
        return b""

    async def _interrupted(self, wait_s: float | None) -> bool:
        """Wait; True when the fault was changed or cleared in the meantime."""
        assert self._changed is not None  # noqa: S101 (made before the first connection)
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._changed.wait(), wait_s)
            return True
        return False
