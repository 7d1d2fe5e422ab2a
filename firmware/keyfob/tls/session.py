"""What resumption needs of a connection that was verified.

RFC 5246 appendix F.1.4 and RFC 5077 (TLS 1.2), RFC 8446 section 4.6.1 (TLS 1.3). It is as
secret as the connection's keys. It is good for the same host only, and not for longer
than a day, so that a certificate that expired or was replaced is looked at again. Taken up
without a key exchange (`Engine`'s ``has_psk_ke``) it is as secret as that next connection
too, and as those behind it.
"""

from micropython import const

_MAX_LIFE_S = const(86_400)


class Session:
    """``version`` and ``suite`` as negotiated, ``host`` as verified. ``secret``: master
    secret (TLS 1.2, always of the extended kind) or resumption PSK (1.3). ``ticket``: from
    the server, or b"" where ``session_id`` stands for the session. ``valid_until_s``: the
    end of the chain's validity, in Unix seconds. ``made_s`` and ``life_s``: when it was
    made, and for how long it is good. ``extra``: what only one version needs."""

    def __init__(
        self, version, suite, host, secret, ticket, session_id, now_s, life_s, valid_until_s,
        extra=0,
    ) -> None:  # fmt: skip
        """``life_s``: as the server says, 0 if it does not."""
        self.version = version
        self.suite = suite
        self.host = host
        self.secret = secret
        self.ticket = ticket
        self.session_id = session_id
        self.made_s = now_s
        self.life_s = min(life_s or _MAX_LIFE_S, _MAX_LIFE_S)
        self.valid_until_s = valid_until_s
        self.extra = extra

    def is_good(self, host: str, now_s: int) -> bool:
        """Whether it may be offered to ``host`` at ``now_s``."""
        age_s = now_s - self.made_s
        return self.host == host and 0 <= age_s < self.life_s and now_s <= self.valid_until_s
