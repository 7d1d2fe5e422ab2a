"""From a connected socket to a verified stream of Keyfob's own engine. Dropped after it.

Trust anchors, certificates and key of the identity are read from their files when the
handshake comes to them, each for as long as it is looked at.
"""

from micropython import const

from keyfob import drop
from keyfob.errors import KeyfobError
from keyfob.tls.engine import TLS12, TLS13, Engine
from keyfob.tls.engine_stream import EngineStream
from keyfob.waiting import pause

# The sizes of RFC 6066 section 4.
_LEAST_RECORD_BYTES = const(512)
_MOST_RECORD_BYTES = const(4096)


async def open_stream(
    host: str, port: int, identity, now_s: int, settings: dict, session, is_flat: bool
):
    """A verified connection to ``host``, with the client certificate sent if the broker
    asks: an `EngineStream`.

    ``identity``: `keyfob.store.Identity`. ``now_s``: Unix seconds of a clock that was set.
    ``settings``: the checked ones, of which ``tls`` and ``limits`` count here. ``session``:
    the one to resume, or None. ``is_flat``: leave the handshake to
    `EngineStream.shake`. Errors: store.*, x509.*, tls.*.
    """
    from keyfob import tcp

    sock = await tcp.connect(host, port)
    del tcp
    drop("tcp")
    stream = None
    try:
        engine = Engine(
            host, identity, now_s, client=identity, session=session,
            **_options(settings["tls"], settings["limits"]["rx_bytes"]),
        )  # fmt: skip
        stream = EngineStream(engine, sock)
        if not is_flat:
            while not stream.shake():
                await pause(stream.pause_ms)
        return stream
    except BaseException as error:
        if stream:
            stream.close()
        sock.close()
        if isinstance(error, MemoryError):
            raise KeyfobError("tls.no-memory", "making the engine")
        raise


def _options(tls: dict, rx_bytes: int) -> dict:
    """The settings as `Engine` takes them. A packet may fill several records: their buffers
    are there during the handshake, that of the packet is not."""
    from binascii import unhexlify

    record_bytes = _LEAST_RECORD_BYTES
    while record_bytes * 4 <= rx_bytes and record_bytes < _MOST_RECORD_BYTES:
        record_bytes *= 2
    numbers = {"1.2": TLS12, "1.3": TLS13}
    return {
        "alpn": tuple(name.encode() for name in tls["alpn"]),
        "versions": tuple(numbers[version] for version in sorted(tls["versions"], reverse=True)),
        "pins": tuple(unhexlify(pin) for pin in tls["pins"]),
        "rx_bytes": record_bytes,
        "tx_bytes": record_bytes // 2,
        "has_rsa_exchange": bool(tls["rsa_exchange"]),
        "has_psk_ke": bool(tls["psk_ke"]),
    }
