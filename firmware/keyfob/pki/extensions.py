"""What a certificate's extensions say of its use: RFC 5280 sections 4.2 and 6.1.

An extension that is critical and not one of key usage, extended key usage, subject
alternative name, basic constraints and name constraints is refused. Certificate
policies are not processed, so critical ones are refused too, as are policy
constraints.

Errors: x509.malformed, x509.unknown-critical.
"""

from micropython import const

from keyfob.errors import KeyfobError
from keyfob.pki.certificate import Certificate
from keyfob.pki.der import Reader, oid_text

# The first byte of a KeyUsage (section 4.2.1.3).
DIGITAL_SIGNATURE = const(0x80)
KEY_ENCIPHERMENT = const(0x20)
KEY_CERT_SIGN = const(0x04)

_BIT_STRING = const(0x03)
_OCTET_STRING = const(0x04)
_SEQUENCE = const(0x30)
_INTEGER = const(0x02)
_KEY_ID = const(0x80)
_ID_CE = b"\x55\x1d"
_SUBJECT_KEY_ID = const(14)
_KEY_USAGE = const(15)
_SAN = const(17)
_BASIC_CONSTRAINTS = const(19)
_NAME_CONSTRAINTS = const(30)
_AUTHORITY_KEY_ID = const(35)
_EXTENDED_KEY_USAGE = const(37)
_ID_KP = b"\x2b\x06\x01\x05\x05\x07\x03"
_SERVER_AUTH = b"\x2b\x06\x01\x05\x05\x07\x03\x01"
_ANY_USAGE = b"\x55\x1d\x25\x00"
_MAX_PATH_LENGTH = const(0xFFFF)


class Extensions:
    """``is_ca``; ``path_length`` (-1: no limit); ``key_usage`` (first byte; -1: all);
    ``usages`` (OIDs of the extended key usage; None: all); ``name_constraints`` and
    ``key_id`` (views, None where there are none)."""

    def __init__(self, certificate: Certificate, who: str) -> None:
        """``who``: how evidence names the certificate."""
        self.is_ca = False
        self.path_length = -1
        self.key_usage = -1
        self.usages: list[bytes] | None = None
        self.name_constraints: memoryview | None = None
        self.key_id: memoryview | None = None
        for oid, is_critical, value in certificate.extensions():
            number = oid[2] if len(oid) == 3 and oid[:2] == _ID_CE else 0
            reader = Reader(value)
            if number == _BASIC_CONSTRAINTS:
                self._read_basic_constraints(reader)
            elif number == _KEY_USAGE:
                self.key_usage = _read_key_usage(reader)
            elif number == _EXTENDED_KEY_USAGE:
                self.usages = _read_usages(reader)
            elif number == _NAME_CONSTRAINTS:
                self.name_constraints = value
            elif is_critical and number != _SAN:
                raise KeyfobError("x509.unknown-critical", "%s: %s" % (who, oid_text(oid)))
            elif number == _SUBJECT_KEY_ID:
                self.key_id = reader.take(_OCTET_STRING)
                reader.finish()

    def _read_basic_constraints(self, reader: Reader) -> None:
        outer = reader.enter(_SEQUENCE)
        self.is_ca = reader.is_true()
        # A path length is a CA's only (section 4.2.1.9).
        if self.is_ca and reader.peek() == _INTEGER:
            self.path_length = reader.small_integer(_MAX_PATH_LENGTH)
        reader.leave(outer)
        reader.finish()

    def usages_text(self) -> str:
        """The extended key usages, for evidence."""
        return ", ".join(oid_text(oid) for oid in self.usages or ())

    def is_for_server(self, is_any_enough: bool) -> bool:
        """Whether the extended key usage, if there is one, names TLS servers."""
        usages = self.usages
        if usages is None or _SERVER_AUTH in usages:
            return True
        return is_any_enough and _ANY_USAGE in usages


def _read_key_usage(reader: Reader) -> int:
    content = reader.take(_BIT_STRING)
    reader.finish()
    # A named bit list ends with a bit that is set (X.690 section 11.2.2).
    if not 2 <= len(content) <= 3 or content[0] > 7:
        reader.fail("key usage of %d bytes" % len(content))
    if content[-1] & ((2 << content[0]) - 1) != 1 << content[0]:
        reader.fail("key usage ends with %02x, %d bits unused" % (content[-1], content[0]))
    return content[1]


def _read_usages(reader: Reader) -> list:
    outer = reader.enter(_SEQUENCE)
    usages = [reader.oid()]
    while reader.at < reader.end:
        usages.append(reader.oid())
    reader.leave(outer)
    reader.finish()
    return usages


def authority_key_id(certificate: Certificate):
    """The key identifier of the issuer's key, a view; None where there is none."""
    for oid, _, value in certificate.extensions():
        if len(oid) == 3 and oid[:2] == _ID_CE and oid[2] == _AUTHORITY_KEY_ID:
            reader = Reader(value)
            reader.enter(_SEQUENCE)
            if reader.peek() == _KEY_ID:
                return reader.take(_KEY_ID)
    return None
