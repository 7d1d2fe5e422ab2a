"""What an OSError of a socket or of mbedTLS means. Apart from `keyfob.tls.reasons`, because a
connection that stands has little heap to spare for telling how it ended.
"""

from keyfob.errors import KeyfobError

# Numbers of mbedTLS (negative) and of the system, by the name of their code.
_NUMBERS = {
    12: "tls.no-memory",
    104: "tls.reset",
    103: "tls.reset",
    32: "tls.reset",
    113: "tls.unreachable",
    101: "tls.unreachable",
    118: "tls.unreachable",  # lwIP on ESP32: no route while the station is down
    110: "tls.reset",  # ETIMEDOUT: the peer acknowledges nothing any more
    116: "tls.reset",  # the same in newlib's numbers (ESP32)
    111: "tls.refused",
    -0x7280: "tls.closed",  # MBEDTLS_ERR_SSL_CONN_EOF
    -0x7880: "tls.closed",  # MBEDTLS_ERR_SSL_PEER_CLOSE_NOTIFY
    -0x7F00: "tls.no-memory",  # MBEDTLS_ERR_SSL_ALLOC_FAILED
    -0x7A00: "x509.wrong-usage",  # MBEDTLS_ERR_SSL_BAD_CERTIFICATE
    -0x2562: "x509.unknown-critical",  # MBEDTLS_ERR_X509_INVALID_EXTENSIONS + UNEXPECTED_TAG
    -0x4290: "tls.no-memory",  # MBEDTLS_ERR_RSA_PUBLIC_FAILED + ALLOC_FAILED
}


def os_error(error: OSError, doing: str) -> KeyfobError:
    """The error for an OSError of a socket or of mbedTLS; ``doing`` says at which stage."""
    number = error.args[0] if error.args else 0
    code = _NUMBERS.get(number, "tls.failed")
    if code == "tls.failed" and doing in ("reading", "writing"):
        # An alert, or a record that is none: a connection stood, so nobody has to act.
        code = "tls.broken"
    text = " ".join(str(part) for part in error.args)
    return KeyfobError(code, doing + ": " + text)


def while_writing(stream, error: OSError) -> KeyfobError:
    """What is behind an OSError that met ``stream``, of Keyfob's engine, while it wrote. A
    broker that refuses us sends its alert and closes; while writing, only the reset is met.
    What it said is still there to be read."""
    engine = stream.engine
    try:
        for _ in range(64):
            if not engine.is_open and engine.step():
                continue
            if engine.is_open:
                engine.read(memoryview(bytearray(64)))
            if not stream.fill():
                break
    except KeyfobError as known:
        if known.code.startswith("tls.alert"):
            return known
    return os_error(error, "writing")
