"""The TLS handshake: driven to its end, and refused if the broker was not verified.

The server name is given, the engine shows us the broker's chain during the handshake,
and each of its certificates is of version 3 with the names in the SAN. mbedTLS checks
chain, signatures, validity, name (DNS or IP SAN), key usage, EKU and path length; what it
has let pass in an unusual chain is judged by `keyfob.tls.rules` before anything is sent over
the connection.
"""

import gc
import time

from micropython import const

from keyfob import drop
from keyfob.errors import KeyfobError
from keyfob.stream import failure
from keyfob.tls.mbedtls import refuse
from keyfob.tls.tap import Tap
from keyfob.waiting import pause

_HANDSHAKE_LIMIT_MS = const(30_000)
_POLL_MS = const(5)
_READS = const(16)


async def shake_hands(context, sock, host: str, now_s: int, identity):
    """The TLS socket over ``sock``, which is closed if that fails. Errors: x509.*, tls.*.

    ``context``: of `keyfob.tls.context`.
    """
    engine = None
    try:
        tap = Tap(sock)
        gc.collect()  # the engine wants its record buffers in one piece each
        try:
            # The socket does not block, so the handshake is driven by reading.
            engine = context.wrap_socket(tap, server_hostname=host, do_handshake_on_connect=False)
        except OSError as error:
            raise failure(error, "setting up TLS")
        from keyfob.tls.chain import Chain

        chain = Chain(host, now_s, identity)
        context.verify_callback = chain.see
        await _drive(engine, tap, chain)
        context.verify_callback = refuse
        if not chain.was_judged:
            raise KeyfobError("tls.cannot-verify", "the engine showed no certificate chain")
        if chain.unusual:
            from keyfob.tls import rules

            has_anchor = len(chain.unusual) == len(chain.seen)
            rules.check(chain.unusual[::-1], host, now_s, has_anchor)
        return engine
    except BaseException:
        if engine:
            engine.close()
        sock.close()
        raise
    finally:
        drop(
            "tls.chain", "tls.records", "tls.reasons", "tls.os_errors", "tls.evidence", "tls.rules"
        )


async def _drive(engine, tap: Tap, chain) -> None:
    from keyfob.tls.records import RecordWatch

    watch = tap.watch = RecordWatch()
    byte = bytearray(1)
    started_ms = time.ticks_ms()
    while True:
        tap.reads = _READS
        try:
            count = engine.readinto(byte)
        except (OSError, ValueError) as error:
            from keyfob.tls.reasons import handshake

            raise handshake(error, tap, chain)
        if count is not None:
            from keyfob.tls.reasons import closed

            # MQTT lets no broker speak before it has seen our CONNECT.
            raise closed(watch, count)
        if watch.is_over:
            tap.watch = None
            return
        if time.ticks_diff(time.ticks_ms(), started_ms) > _HANDSHAKE_LIMIT_MS:
            detail = "%d bytes from the broker in %d ms" % (watch.seen_bytes, _HANDSHAKE_LIMIT_MS)
            raise KeyfobError("tls.handshake-timeout", detail)
        await pause(_POLL_MS)
