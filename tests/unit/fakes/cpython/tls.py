"""An engine that cannot verify: CPython has none of MicroPython's kind.

It is there so that modules which import `tls` can be imported; no connection comes of it.
"""

PROTOCOL_TLS_CLIENT = 0


class SSLContext:
    def __init__(self, protocol):
        self.protocol = protocol
