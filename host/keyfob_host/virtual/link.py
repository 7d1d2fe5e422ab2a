"""One target of a virtual board's network link: a TCP relay and a UDP relay, one port.

The TCP side connects onward when the board resolves the name, before the board
connects: so a refusal reaches the board as the refusal it is, and the connection
made early is held for a moment and then used. Where the target is on this host, a
refused one is tried again from time to time, for programs that resolve only once.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
from typing import Any, Protocol

from keyfob_host.relay import Fault, TcpRelay
from keyfob_host.relay_streams import connect, serve

_HOLD_S = 2.0  # an onward connection that the board does not use is closed after this
_PROBE_S = 1.0  # no answer by then: let the board's own connection wait for it
_RETRY_S = 0.25
_FORGET_S = 60.0  # what a datagram's answer may take
_REFUSALS = (errno.ECONNREFUSED, errno.ENETUNREACH, errno.EHOSTUNREACH)
_CHUNK_BYTES = 16384
_Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Link(Protocol):
    """What a target asks of the network it belongs to."""

    fault: Fault | None

    @property
    def up(self) -> bool: ...


class TcpTarget(TcpRelay):
    """The relay to ``(address, port)``; `port` is where the board connects.

    Runs in the loop that makes it, and refuses connections while its target does.
    """

    def __init__(self, link: Link, address: str, port: int) -> None:
        super().__init__((address, port))
        self._link = link
        self._loop = asyncio.get_running_loop()
        self._changed = asyncio.Event()
        self._fault = link.fault
        self._server: asyncio.Server | None = None
        self._early: _Stream | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._retry: asyncio.Task[None] | None = None
        self._closed = False
        self._bound = self._bind(0)
        self.port = self._bound.getsockname()[1]

    def fault_changed(self) -> None:
        """Take over the link's fault for live and new connections."""
        self._apply(self._link.fault)

    def close(self) -> None:
        """Reset every connection and let go of the port."""
        self._closed = True
        self._cut_all()
        self._drop_early()
        if self._retry:
            self._retry.cancel()
        if self._server:
            self._server.close()
        self._bound.close()

    def reset_connections(self) -> int:
        """Reset the connections that live now; how many there were."""
        return self._cut_all()

    async def probe(self) -> None:
        """Find out whether the target accepts, and refuse or listen accordingly."""
        if self._early is not None or self._closed:
            return
        try:
            stream = await asyncio.wait_for(connect(self.target, limit=_CHUNK_BYTES), _PROBE_S)
        except asyncio.TimeoutError:
            await self._listen_now()
        except OSError as error:
            if error.errno in _REFUSALS:
                self._refuse()
            else:
                await self._listen_now()
        else:
            self._early = stream
            self._timer = asyncio.get_running_loop().call_later(_HOLD_S, self._drop_early)
            await self._listen_now()

    async def _connect(self) -> _Stream:
        """The connection made early, or a new one."""
        if not self._link.up:
            raise ConnectionResetError
        self.connections[:] = [one for one in self.connections if one.alive]  # forget the past
        early, self._early = self._early, None
        if early is not None:
            if self._timer:
                self._timer.cancel()
            if not early[0].at_eof():
                return early
            early[1].close()
        try:
            return await super()._connect()
        except OSError:
            self._refuse()
            raise

    def _drop_early(self) -> None:
        if self._timer:
            self._timer.cancel()
        if self._early is not None:
            self._early[1].close()
            self._early = None

    async def _listen_now(self) -> None:
        if self._server is None and not self._closed:
            self._server = await serve(self._carry, self._bound, limit=_CHUNK_BYTES)

    def _refuse(self) -> None:
        """Keep the port, listen no longer."""
        if self._closed:
            return
        if self._server is not None:
            self._server.close()
            self._server = None
            self._bound = self._bind(self.port)
        local = self.target[0].startswith("127.")
        if local and (self._retry is None or self._retry.done()):
            self._retry = asyncio.ensure_future(self._try_again())

    async def _try_again(self) -> None:
        while self._server is None and not self._closed:
            await asyncio.sleep(_RETRY_S)
            if self._link.up:
                await self.probe()

    def _bind(self, port: int) -> socket.socket:
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(("127.0.0.1", port))
        return sock


class UdpTarget(asyncio.DatagramProtocol):
    """Carries datagrams between the board and ``(address, port)``, while the link is up."""

    def __init__(self, link: Link, address: str, port: int) -> None:
        self._link = link
        self._target = (address, port)
        self._transport: asyncio.DatagramTransport | None = None
        self._onward: dict[Any, asyncio.DatagramTransport] = {}

    @classmethod
    async def open(cls, link: Link, address: str, port: int, local_port: int) -> UdpTarget:
        """Listen on ``local_port`` of the loopback."""
        loop = asyncio.get_running_loop()
        _, protocol = await loop.create_datagram_endpoint(
            lambda: cls(link, address, port), local_addr=("127.0.0.1", local_port)
        )
        return protocol

    def close(self) -> None:
        """Let go of the ports."""
        for transport in (self._transport, *self._onward.values()):
            if transport is not None:
                transport.close()

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, board: Any) -> None:
        if self._link.up:
            asyncio.ensure_future(self._send(data, board))  # noqa: RUF006  (ends by itself)

    async def _send(self, data: bytes, board: Any) -> None:
        onward = self._onward.get(board)
        if onward is None:
            with contextlib.suppress(OSError):
                loop = asyncio.get_running_loop()
                onward, _ = await loop.create_datagram_endpoint(
                    lambda: _Answers(self, board), remote_addr=self._target
                )
                self._onward[board] = onward
                loop.call_later(_FORGET_S, self._forget, board)
        if onward is not None:
            await self._delay()
            onward.sendto(data)

    def _forget(self, board: Any) -> None:
        """Programs open a socket for each question; the ports behind them are given back."""
        self._onward.pop(board).close()

    async def _delay(self) -> None:
        fault = self._link.fault
        if fault is not None and fault.kind == "delay":
            await asyncio.sleep(fault.delay_s)

    async def answer(self, data: bytes, board: Any) -> None:
        """A datagram from the target, for the board's socket ``board``."""
        await self._delay()
        if self._link.up and self._transport is not None and not self._transport.is_closing():
            self._transport.sendto(data, board)


class _Answers(asyncio.DatagramProtocol):
    def __init__(self, target: UdpTarget, board: Any) -> None:
        self._target = target
        self._board = board

    def datagram_received(self, data: bytes, _from: Any) -> None:
        asyncio.ensure_future(self._target.answer(data, self._board))  # noqa: RUF006

    def error_received(self, error: Exception) -> None:
        """Nobody listens there: a datagram is lost, as on a real network."""
