"""Seen against expected, for a chain that was refused; loaded for that.

What `keyfob.tls.chain` kept of the broker's certificates in DER becomes text here.
Every text is cut at 64 bytes: nobody vouched for it.
"""

import time

from micropython import const

from keyfob.errors import KeyfobError
from keyfob.tls.chain import Chain, read_element, read_facts

_NAME_DNS = const(0x82)
_NAME_IP = const(0x87)
_MAX_NAME_BYTES = const(64)
_EPOCH_2000_S = const(946_684_800)
_COMMON_NAME_OID = b"\x06\x03\x55\x04\x03"


def of_chain(chain: Chain, code: str) -> str:
    """Evidence for ``chain``, which was refused with ``code``."""
    if code in ("x509.expired", "x509.not-yet-valid"):
        clock = _clock_text(chain.now_s)
        for _, facts in reversed(chain.seen):
            _, first, last, subject = _texts(facts)
            if not first <= clock <= last:
                return "%r is valid from %s to %s, clock %s" % (subject, first, last, clock)
    if code == "x509.untrusted":
        issuer, top = "", -1
        for depth, facts in chain.seen:
            if depth > top:
                issuer, top = _texts(facts)[0], depth
        return "chain ends with issuer %r, trust anchors %s" % (issuer, _anchors(chain.identity))
    return "wanted %s, certificate for %s" % (chain.host, " ".join(_names(chain.names)))


def _anchors(identity) -> str:
    texts = []
    for name in identity.names("ca"):
        try:
            texts.append(repr(_texts(read_facts(identity.read(name))[1])[3]))
        except KeyfobError as error:
            texts.append("%s (%s)" % (name, error.code))
    return ", ".join(texts)


def _texts(facts: bytes) -> tuple:
    """Issuer, notBefore, notAfter, subject."""
    end = len(facts)
    issuer, at = _common_name(facts, 0, end)
    at, behind = read_element(facts, at, end)
    first, at = _time_text(facts, at, behind)
    last, at = _time_text(facts, at, behind)
    return issuer, first, last, _common_name(facts, behind, end)[0]


def _common_name(der: bytes, at: int, end: int) -> tuple:
    """(common name of the Name at ``at``, offset behind), RFC 5280 section 4.1.2.4."""
    at, behind = read_element(der, at, end)
    found = ""
    while at < behind:
        inner, at = read_element(der, at, behind)
        inner, stop = read_element(der, inner, at)
        if der[inner : inner + len(_COMMON_NAME_OID)] == _COMMON_NAME_OID:
            inner, stop = read_element(der, inner + len(_COMMON_NAME_OID), stop)
            found = _text(der, inner, stop)
    return found, behind


def _time_text(der: bytes, at: int, end: int) -> tuple:
    """(``2026-11-21T08:32:33Z``, offset behind)."""
    start, at = read_element(der, at, end)
    text = _text(der, start, at)
    if len(text) == 13:
        text = ("19" if text[0] >= "5" else "20") + text
    parts = (text[:4], text[4:6], text[6:8], text[8:10], text[10:12], text[12:])
    return "%s-%s-%sT%s:%s:%s" % parts, at


def _clock_text(unix_s: int) -> str:
    epoch_s = _EPOCH_2000_S if time.gmtime(0)[0] == 2000 else 0
    return "%04d-%02d-%02dT%02d:%02d:%02dZ" % tuple(time.gmtime(unix_s - epoch_s)[:6])


def _names(der: bytes) -> list:
    """DNS names and IP addresses."""
    found = []
    at, end = 0, len(der)
    while at < end:
        tag = der[at]
        start, at = read_element(der, at, end)
        if tag == _NAME_DNS:
            found.append(_text(der, start, at))
        elif tag == _NAME_IP:
            separator = "." if at - start == 4 else ":"
            found.append(separator.join([str(byte) for byte in der[start:at]]))
    return found


def _text(der: bytes, start: int, stop: int) -> str:
    return "".join([chr(byte) for byte in der[start : min(stop, start + _MAX_NAME_BYTES)]])
