"""From a host and a port to a verified stream of the firmware's own mbedTLS. Dropped after it.

Its verify mode reads back as CERT_REQUIRED before anything is sent, and after the
handshake once more; the rest is checked in `keyfob.tls.handshake`.
"""

from keyfob import drop


async def open_stream(
    host: str, port: int, identity, now_s: int, settings: dict, session, is_flat: bool
):
    """A verified connection to ``host``, with the client certificate sent: a
    `keyfob.tls.mbedtls_stream.MbedtlsStream`. Errors: tls.*, x509.*, store.*.

    ``identity``: `keyfob.store.Identity`. ``now_s``: Unix seconds of a clock that was set.
    ``settings``: the checked ones, of which ``tls.rsa_exchange`` counts here. MicroPython's
    mbedTLS resumes no session: the rest is not looked at.
    """
    try:
        # First, because the context wants the largest piece of memory.
        from keyfob.tls import context as making

        context = making.make_context(identity, settings["tls"].get("rsa_exchange", 0))
        del making
        drop("tls.context")
        from keyfob import tcp

        sock = await tcp.connect(host, port)
        del tcp
        drop("tcp")
        from keyfob.tls import handshake

        engine = await handshake.shake_hands(context, sock, host, now_s, identity)
        del handshake
        drop("tls.handshake", "tls.tap")
        from keyfob.tls.mbedtls_stream import MbedtlsStream

        stream = MbedtlsStream(engine, sock)
        try:
            from keyfob.tls.context import check_verifies

            check_verifies(context)
        except BaseException:
            stream.close()
            raise
        return stream
    finally:
        drop("tls.context", "tls.handshake", "tls.tap")


def refuse(der: memoryview, depth: int) -> int:
    """The verify callback of an engine before its handshake and after: no chain will do."""
    return -1
