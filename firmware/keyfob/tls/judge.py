"""Phase between Certificate and what the server's key has signed: the chain is judged.

RFC 5280 section 6.1 by `keyfob.pki.path`. A phase of its own, because the verifier is the
largest piece of code that a handshake needs: nothing else is loaded meanwhile. The chain
is let go of; of the server only its key is kept.
"""

from micropython import const

from keyfob.errors import KeyfobError
from keyfob.pki import path

_DIGITAL_SIGNATURE = const(0x80)
_KEY_ENCIPHERMENT = const(0x20)
_RSA_EXCHANGE_SUITES = const((0x009C, 0x003C))
_RSA_SUITES = const((0xC02F, 0xC027, 0x009C, 0x003C))
_MAX_RESUMED_S = const(86_400)
_SUITE_13 = const(0x1301)  # for any key


def run(hs):
    """Phase. ``hs.chain``: what the server sent. Next: exchange12, or verify13 with TLS 1.3.
    Leaves ``hs.server_key`` and ``hs.valid_until_s``."""
    suite = hs.engine.suite
    usage = _KEY_ENCIPHERMENT if suite in _RSA_EXCHANGE_SUITES else _DIGITAL_SIGNATURE
    steps = path.steps(hs.chain, hs.anchors, hs.host, hs.now_s, usage, hs.pins)
    hs.chain = None
    entity = next(steps)
    while not entity:
        yield
        entity = next(steps)
    if suite != _SUITE_13 and (entity.key_kind == "rsa") != (suite in _RSA_SUITES):
        detail = "suite %04x with a key of type %s" % (suite, entity.key_kind)
        raise KeyfobError("tls.illegal-parameter", detail)
    hs.server_key = entity.key
    # What resumes it, and what resumes that, ends with it: the chain is looked at daily.
    hs.valid_until_s = min(entity.valid_until_s, hs.now_s + _MAX_RESUMED_S)
    return "verify13" if suite == _SUITE_13 else "exchange12"
