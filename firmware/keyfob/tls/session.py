"""What resumption needs of a connection that was verified.

RFC 5246 appendix F.1.4 and RFC 5077 (TLS 1.2), RFC 8446 section 4.6.1 (TLS 1.3). It is as
secret as the connection's keys. It is good for the same host only, and not for longer
than a day, so that a certificate that expired or was replaced is looked at again.
"""

from micropython import const

_MAX_LIFE_S = const(86_400)


class Session:
    """``version`` and ``suite`` as negotiated, ``host`` as verified. ``secret``: master
    secret (TLS 1.2, always of the extended kind) or resumption PSK (1.3). ``ticket``: from
    the server, or b"" where ``session_id`` stands for the session. ``expires_s``: Unix
    seconds, exclusive. ``extra``: what only one version needs."""

    def __init__(
        self, version, suite, host, secret, ticket, session_id, now_s, life_s, extra=0
    ) -> None:
        """``life_s``: as the server says, 0 if it does not."""
        self.version = version
        self.suite = suite
        self.host = host
        self.secret = secret
        self.ticket = ticket
        self.session_id = session_id
        self.expires_s = now_s + min(life_s or _MAX_LIFE_S, _MAX_LIFE_S)
        self.extra = extra

    def is_good(self, host: str, now_s: int) -> bool:
        """Whether it may be offered to ``host`` at ``now_s``."""
        return self.host == host and self.expires_s - _MAX_LIFE_S <= now_s < self.expires_s
