"""Last phase of TLS 1.2 when a session is resumed: no public-key work at all.

RFC 5246 section 7.3, figure 2. Who holds the session's master secret was verified when
it was made.
"""

from keyfob.tls.finish12 import read_finished, send_finished
from keyfob.tls.keys12 import make_protections


def run(hs):
    """Phase, the last one."""
    hs.master = hs.offered.secret
    hs.valid_until_s = hs.offered.valid_until_s
    make_protections(hs)
    yield from read_finished(hs)
    yield from send_finished(hs)
