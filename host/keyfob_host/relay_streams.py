"""asyncio streams that give what a peer said before its reset; for `relay`.

asyncio's own forget it: once the connection is lost, or a write to it has failed, `read`
raises, and what had arrived is gone. A peer that refuses a handshake sends its alert and
resets, often while it is being written to, so the alert would be lost just when it matters.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

_Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
_PIECE_BYTES = 65536


class _Reader(asyncio.StreamReader):
    """Raises why the connection was lost behind its last byte, not before."""

    _lost: BaseException | None = None

    def set_exception(self, exc: Any) -> None:
        self._lost = exc
        self.feed_eof()

    async def read(self, n: int = -1) -> bytes:
        data = await super().read(n)
        if not data and self._lost is not None:
            raise self._lost
        return data


class _Protocol(asyncio.StreamReaderProtocol):
    """Takes what the kernel still has when the connection is lost."""

    def __init__(
        self,
        reader: _Reader,
        connected: Callable[..., Awaitable[None]] | None = None,
    ) -> None:
        super().__init__(reader, connected)
        self._own_reader = reader
        self._transport_made: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport_made = transport
        super().connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        if exc is not None:
            # The transport closes its socket after this call.
            sock = self._transport_made.get_extra_info("socket").dup()
            with contextlib.suppress(OSError), sock:  # which includes that there is no more
                while data := sock.recv(_PIECE_BYTES):
                    self._own_reader.feed_data(data)
        super().connection_lost(exc)


async def serve(
    connected: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
    listener: Any,
    limit: int,
) -> asyncio.Server:
    """As `asyncio.start_server` on the bound socket ``listener``."""
    loop = asyncio.get_running_loop()
    return await loop.create_server(lambda: _Protocol(_Reader(limit), connected), sock=listener)


async def connect(address: tuple[str, int], limit: int) -> _Streams:
    """As `asyncio.open_connection`."""
    loop = asyncio.get_running_loop()
    reader = _Reader(limit)
    protocol = _Protocol(reader)
    transport, _ = await loop.create_connection(lambda: protocol, *address)
    return reader, asyncio.StreamWriter(transport, protocol, reader, loop)
