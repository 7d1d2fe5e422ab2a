"""The one way to a verified connection, through one of two TLS engines.

What only connecting needs is loaded for that, one step after the other, and let go of
again. What stands afterwards is a `keyfob.tls.mbedtls_stream.MbedtlsStream` or a
`keyfob.tls.engine_stream.EngineStream`, which read, write and wait in the same way.
"""

import gc
import sys

import keyfob
from keyfob import drop
from keyfob.errors import KeyfobError


async def connect(
    host: str, port: int, identity, clock, settings: dict, session=None, is_flat: bool = False
):
    """A verified TLS connection to ``host`` (DNS name or IP address), client certificate sent.

    ``identity``: `keyfob.store.Identity`. ``clock``: `keyfob.clock.Clock`. ``settings``:
    the checked settings, whose ``tls.engine`` names the engine: "mbedtls", the firmware's
    own, or "keyfob", for ports whose own verifies nobody and for what mbedTLS cannot do.
    ``session``: what Keyfob's left to be resumed, or None. ``is_flat``: of Keyfob's engine,
    leave the handshake to `keyfob.tls.engine_stream.EngineStream.shake`: until then
    nothing is sent through the stream and nothing is read. The clock is set and trust
    anchors are there, or nothing is sent. Not checked: revocation (no CRL reaches the
    board). Errors: clock.never-set, store.*, x509.*, tls.*.
    """
    now_s = clock.now_s()
    try:
        try:
            if settings["tls"]["engine"] == "keyfob":
                from keyfob.tls.opening import open_stream
            else:
                from keyfob.tls.mbedtls import open_stream
        except ImportError as error:
            raise KeyfobError("tls.no-engine", str(error))
        stream = await open_stream(host, port, identity, now_s, settings, session, is_flat)
        drop("tcp", "tls.mbedtls", "tls.opening", "tls.tap", "tls")
        return stream
    except BaseException:
        unload()
        raise


def unload(empties: bool = False) -> None:
    """No engine stands, so nothing of what one takes is needed.

    ``empties``: nothing of one runs either; take the names out of its modules. What is
    left on the stack may look to the collector like a reference to one function, and
    that would keep every module that it can name.
    """
    parts = ("keyfob.tls", "keyfob.pki", "keyfob.crypto")
    names = [name[7:] for name in sys.modules if name[: name.rfind(".")] in parts]
    is_small = empties and gc.mem_free() < keyfob.plenty_bytes
    if is_small:
        for name in names:
            sys.modules["keyfob." + name].__dict__.clear()
    drop("tcp", *names)
    if is_small:
        keyfob.tidy_modules()
        gc.collect()


def failure(error: OSError, doing: str) -> KeyfobError:
    """What an OSError of the socket or the engine means."""
    try:
        from keyfob.tls.os_errors import os_error

        return os_error(error, doing)
    except MemoryError:
        return KeyfobError("tls.no-memory", doing + ": " + str(error))
    finally:
        drop("tls.os_errors", "tls")
