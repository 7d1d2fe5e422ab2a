"""The tls module as axTLS gives it to the ESP8266: it encrypts, and verifies nobody.

``verify_mode`` reads CERT_NONE whatever was written to it; there is no CERT_REQUIRED,
no way to load trust anchors, and RSA key exchange is all that is offered. A key must
be RSA in PKCS#1 DER. The handshake itself is mbedTLS's, at TLS 1.2, held to that; the
5 KB of record buffer come out of the program's heap, as on the chip (and go with the
context). What fails in the handshake is CONN_LOST here, where axTLS has more numbers.
"""

import tls

PROTOCOL_TLS_CLIENT = 0
PROTOCOL_TLS_SERVER = 1
CERT_NONE = 0

_BUFFER_BYTES = const(5120)
_CONN_LOST = (-256, "CONN_LOST")
_SUITES = (
    "TLS-RSA-WITH-AES-128-CBC-SHA256",
    "TLS-RSA-WITH-AES-256-CBC-SHA256",
    "TLS-RSA-WITH-AES-128-CBC-SHA",
    "TLS-RSA-WITH-AES-256-CBC-SHA",
)

_keep = object.__setattr__


class SSLContext:
    """Key and certificate for `wrap_socket`; the protocol is not looked at."""

    verify_mode = CERT_NONE

    def __init__(self, protocol):
        _keep(self, "_pair", None)

    def __setattr__(self, name, value):
        if name != "verify_mode":  # whose value is thrown away
            raise AttributeError("'SSLContext' object has no attribute '%s'" % name)

    def load_cert_chain(self, cert, pkey):
        _keep(self, "_pair", (cert, pkey))

    def wrap_socket(
        self, sock, *, server_side=False, do_handshake_on_connect=True, server_hostname=None
    ):
        context = tls.SSLContext(
            tls.PROTOCOL_TLS_SERVER if server_side else tls.PROTOCOL_TLS_CLIENT
        )
        context.verify_mode = tls.CERT_NONE
        context.set_ciphers(_SUITES)
        _keep(self, "_buffer", bytearray(_BUFFER_BYTES))
        if self._pair:
            cert, key = self._pair
            if not _is_pkcs1(key):
                raise ValueError("invalid key")
            context.load_cert_chain(cert, key)
        try:
            return context.wrap_socket(
                sock,
                server_side=server_side,
                do_handshake_on_connect=do_handshake_on_connect,
                server_hostname=server_hostname,
            )
        except OSError as error:
            if error.errno > 0:
                raise
            raise OSError(*_CONN_LOST)


def _is_pkcs1(key):
    """SEQUENCE of INTEGER 0 and INTEGER: not PKCS#8 (SEQUENCE next), not EC (INTEGER 1)."""
    start = 4 if key[1] == 0x82 else 3
    return key[0] == 0x30 and key[start : start + 4] == b"\x02\x01\x00\x02"
