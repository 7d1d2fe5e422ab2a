"""From a connected socket to a verified stream of Keyfob's own engine. Dropped after it.

Trust anchors, certificates and key of the identity are read from their files when the
handshake comes to them, each for as long as it is looked at.
"""

import asyncio

from micropython import const

from keyfob.errors import KeyfobError
from keyfob.tls.engine import Engine
from keyfob.tls.engine_stream import EngineStream

# A full handshake with RSA-4096 on an ESP8266 of 80 MHz stays below; a broker that
# waits less closes.
_HANDSHAKE_LIMIT_MS = const(120_000)
_POLL_MS = const(5)


async def open_stream(sock, host: str, identity, now_s: int, **options) -> EngineStream:
    """A verified connection to ``host`` over ``sock`` (connected, not blocking), with the
    client certificate sent if the broker asks.

    ``identity``: `keyfob.store.Identity`. ``now_s``: Unix seconds of a clock that was set.
    ``options``: see `keyfob.tls.engine.Engine`; ``session`` is the one to resume. The
    socket is closed on failure. Errors: store.*, x509.*, tls.*.
    """
    stream = None
    try:
        engine = Engine(host, _Anchors(identity), now_s, client=_Client(identity), **options)
        stream = EngineStream(engine, sock)
        await asyncio.wait_for_ms(_shake_hands(stream, engine), _HANDSHAKE_LIMIT_MS)
        return stream
    except asyncio.TimeoutError:
        detail = "%d bytes from the broker in %d ms" % (engine.seen_bytes, _HANDSHAKE_LIMIT_MS)
        error: BaseException = KeyfobError("tls.handshake-timeout", detail)
    except MemoryError:
        error = KeyfobError("tls.no-memory", "making the engine")
    except BaseException as other:
        error = other
    if stream:
        stream.close()
    sock.close()
    raise error


async def _shake_hands(stream: EngineStream, engine: Engine) -> None:
    while not engine.is_open:
        while engine.step():
            await asyncio.sleep_ms(0)
        if engine.tx():
            if not stream.send():
                await asyncio.sleep_ms(_POLL_MS)
        elif not engine.is_open and not stream.fill():
            await stream.readable()


class _Anchors:
    """The trust anchors, one at a time, as often as they are asked for."""

    def __init__(self, identity) -> None:
        self._identity = identity

    def __iter__(self):
        for name in self._identity.names("ca"):
            yield self._identity.read(name)


class _Client:
    """The board's own certificates and key."""

    def __init__(self, identity) -> None:
        self._identity = identity

    def certificates(self) -> list:
        """As `keyfob.tls.engine.Engine` wants them."""
        return [self._identity.read(name) for name in self._identity.names("cert")]

    def key(self):
        """As `keyfob.tls.engine.Engine` wants it."""
        from keyfob.pki.private_key import load

        return load(self._identity.read("key.der"))
