"""What the TLS engine's verify callback sees of the broker's chain.

RFC 5280 sections 4.1.2.1 (version) and 4.2.1.6 (SAN), RFC 6125 section 6.4.4. It is
stricter than mbedTLS in two points, keeps the evidence that mbedTLS's verdict
lacks, and proves that a chain was judged at all. Not checked here: signatures,
dates, names, usages, path length; those verdicts are the engine's. Where a certificate has
anything that mbedTLS judges by fewer rules than RFC 5280 and RFC 9525 have, it is kept for
`keyfob.tls.rules`. What else is kept becomes text in `keyfob.tls.evidence`, which is loaded
for a refusal.
"""

from micropython import const

from keyfob.errors import KeyfobError

_BOOLEAN = const(0x01)
_OCTET_STRING = const(0x04)
_SEQUENCE = const(0x30)
_VERSION = const(0xA0)
_EXTENSIONS = const(0xA3)
_NAME_DNS = const(0x82)
_NAME_IP = const(0x87)
_ANY = const(-1)
_MAX_NAMES = const(4)
_ZULU = const(0x5A)
# UTCTime and GeneralizedTime, with their lengths.
_TIMES = ((0x17, 13), (0x18, 15))
_CE_OID = b"\x06\x03\x55\x1d"  # id-ce; one byte more says which (RFC 5280 section 4.2.1)
_KEY_USAGE = const(0x0F)
_SAN = const(0x11)
_BASIC_CONSTRAINTS = const(0x13)
_EXTENDED_KEY_USAGE = const(0x25)
# Name constraints, policy mappings and constraints, inhibitAnyPolicy.
_CONSTRAINTS = (0x1E, 0x21, 0x24, 0x36)
_KEY_CERT_SIGN = const(0x04)
_SERVER_AUTH = b"\x06\x08\x2b\x06\x01\x05\x05\x07\x03\x01"


class Chain:
    """What the engine's verify callback saw: proof that it verifies, and evidence.

    The callback cannot make mbedTLS accept anything (its verdict is kept in flags that
    MicroPython does not hand out); it can only refuse more. ``seen``: (depth, issuer
    and validity and subject in DER) of each certificate; ``names``: the GeneralNames of
    the end-entity's SAN in DER. ``unusual``: from the first certificate on that mbedTLS
    alone does not judge by all rules, down to the end-entity, in DER; mostly none.
    """

    def __init__(self, host: str, now_s: int, identity) -> None:
        """``identity``: `keyfob.store.Identity`, whose trust anchors evidence may name."""
        self.error: KeyfobError | None = None
        self.was_judged = False
        self.host = host
        self.now_s = now_s
        self.identity = identity
        self.seen: list[tuple] = []
        self.names = b""
        self.unusual: list[bytes] = []

    def see(self, der: memoryview, depth: int) -> int:
        """Called for each certificate, trust anchor first; not 0 refuses the chain."""
        try:
            self._check(der, depth)
        except KeyfobError as error:
            self.error = error
        except IndexError:
            self.error = KeyfobError("x509.malformed", "depth %d: too short" % depth)
        except MemoryError:
            self.error = KeyfobError("tls.no-memory", "reading the broker's chain")
        return -1 if self.error else 0

    def _check(self, der: memoryview, depth: int) -> None:
        version, facts, extensions = read_facts(der)
        if version != 3:
            # mbedTLS would take a version 1 trust anchor for a CA: no basic constraints.
            raise KeyfobError("x509.not-v3", "depth %d: version %d" % (depth, version))
        self.seen.append((depth, facts))
        if depth == 0:
            if _SAN in extensions:
                self.names = _read_names(der, *extensions[_SAN])
            if not self.names:
                # mbedTLS would fall back to the common name; RFC 6125 section 6.4.4.
                raise KeyfobError("x509.no-san", "wanted " + self.host)
        if self.unusual or not self._is_usual(der, depth, extensions):
            self.unusual.append(bytes(der))  # the engine's own is gone after the call
        if depth == 0:
            self.was_judged = True

    def _is_usual(self, der: memoryview, depth: int, extensions: dict) -> bool:
        """Whether mbedTLS judges everything that the certificate says. It looks at no
        constraints of names and no extended key usage of a CA, takes a CA for a server, any
        usage for a server's, an address in a DNS name, and short wildcards."""
        for kind in extensions:
            if kind in _CONSTRAINTS or (depth and kind == _EXTENDED_KEY_USAGE):
                return False
            if depth:
                continue
            start, end = extensions[kind]
            value = bytes(der[start:end])
            if (
                (kind == _BASIC_CONSTRAINTS and len(value) > 2)
                or (kind == _KEY_USAGE and (value[1] > 3 or value[3] & _KEY_CERT_SIGN))
                or (kind == _EXTENDED_KEY_USAGE and _SERVER_AUTH not in value)
            ):
                return False
        return depth > 0 or self._has_name()

    def _has_name(self) -> bool:
        """Whether one of the first names is that of the host as it stands."""
        host, names = self.host.lower(), self.names
        is_dns_name = host[-1:] not in "0123456789" and ":" not in host and "*" not in host
        at, end = 0, len(names)
        while at < end:
            tag = names[at]
            start, at = read_element(names, at, end)
            if tag == _NAME_DNS and is_dns_name and names[start:at].lower() == host.encode():
                return True
            if tag == _NAME_IP and ".".join([str(byte) for byte in names[start:at]]) == host:
                return True
        return False


def read_facts(der: bytes | memoryview) -> tuple:
    """(version; issuer, validity and subject in DER; {last byte of its OID: (start, end) of
    the value} of each extension of id-ce). Errors: x509.malformed."""
    at, end = read_element(der, 0, len(der), _SEQUENCE)
    at, end = read_element(der, at, end, _SEQUENCE)
    version = 1
    if der[at] == _VERSION:
        start, at = read_element(der, at, end, _VERSION)
        version = der[start + 2] + 1 if at == start + 3 else 0
    at = read_element(der, at, end)[1]  # serialNumber
    start = read_element(der, at, end)[1]  # signature
    at = read_element(der, start, end, _SEQUENCE)[1]  # issuer
    time_at, at = read_element(der, at, end, _SEQUENCE)
    while time_at < at:
        tag = der[time_at]
        inner, time_at = read_element(der, time_at, at)
        # RFC 5280 section 4.1.2.5: always Zulu, with seconds.
        if (tag, time_at - inner) not in _TIMES or der[time_at - 1] != _ZULU:
            raise KeyfobError("x509.malformed", "offset %d: time of tag %d" % (inner, tag))
    at = read_element(der, at, end, _SEQUENCE)[1]  # subject
    facts = bytes(der[start:at])
    while at < end and der[at] != _EXTENSIONS:
        at = read_element(der, at, end)[1]
    extensions = {}
    if at < end:
        at, end = read_element(der, at, end, _EXTENSIONS)
        at, end = read_element(der, at, end, _SEQUENCE)
    while at < end:
        inner, at = read_element(der, at, end, _SEQUENCE)
        if bytes(der[inner : inner + len(_CE_OID)]) == _CE_OID:
            kind = der[inner + len(_CE_OID)]
            inner += len(_CE_OID) + 1
            if der[inner] == _BOOLEAN:
                inner = read_element(der, inner, at)[1]  # critical
            extensions[kind] = read_element(der, inner, at, _OCTET_STRING)
    return version, facts, extensions


def _read_names(der: bytes | memoryview, at: int, end: int) -> bytes:
    """The SAN's names up to the fourth DNS name or IP address; empty if there is none."""
    start, end = read_element(der, at, end, _SEQUENCE)
    at, count = start, 0
    while at < end and count < _MAX_NAMES:
        count += der[at] in (_NAME_DNS, _NAME_IP)
        at = read_element(der, at, end)[1]
    return bytes(der[start:at]) if count else b""


def read_element(der: bytes | memoryview, at: int, end: int, tag: int = _ANY) -> tuple:
    """(start, end) of the content of the element at ``at``, which must have ``tag``.

    Definite lengths of at most two bytes (DER; a certificate above 64 KB is none of
    ours). Errors: x509.malformed.
    """
    start = at + 2
    if start > end or (tag >= 0 and der[at] != tag):
        raise KeyfobError("x509.malformed", "offset %d: no tag %d" % (at, tag))
    size = der[at + 1]
    if size >= 0x80:
        count = size & 0x7F
        start += count
        if not 1 <= count <= 2 or start > end:
            raise KeyfobError("x509.malformed", "offset %d: length of %d bytes" % (at, count))
        size = der[start - 1] | (der[start - 2] << 8 if count == 2 else 0)
    if start + size > end:
        raise KeyfobError("x509.malformed", "offset %d: %d bytes" % (at, size))
    return start, start + size
