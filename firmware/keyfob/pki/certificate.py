"""Read the few facts of a DER certificate that evidence and strictness need.

RFC 5280 section 4.1: version, names, validity, and whether a subject alternative name
is there and what it says. Nothing is verified here; chain, signature and usage are
the TLS engine's. Every length is checked against the bytes that are there.
"""

from micropython import const

from keyfob.errors import KeyfobError

_INTEGER = const(0x02)
_OCTET_STRING = const(0x04)
_UTC_TIME = const(0x17)
_GENERALIZED_TIME = const(0x18)
_SEQUENCE = const(0x30)
_SET = const(0x31)
_VERSION = const(0xA0)
_EXTENSIONS = const(0xA3)
_NAME_DNS = const(0x82)
_NAME_IP = const(0x87)
_MAX_NAMES = const(4)
# They go into an error's evidence, before anybody vouches for them.
_MAX_NAME_BYTES = const(64)
_SAN_OID = b"\x06\x03\x55\x1d\x11"
_COMMON_NAME_OID = b"\x06\x03\x55\x04\x03"


class Certificate:
    """``version`` (1 to 3), ``not_before_s`` and ``not_after_s`` (Unix seconds),
    ``issuer`` and ``subject`` (common names, "" where there is none), and ``names``:
    DNS names and IP addresses of the SAN as text, the first four; empty when there is
    no such name. Every text is cut at 64 bytes."""

    def __init__(self, der: bytes | memoryview) -> None:
        """``der`` is read here and not kept. Errors: x509.malformed."""
        self.version = 1
        self.names: list[str] = []
        at, end = read_header(der, 0, len(der), _SEQUENCE)
        at, end = read_header(der, at, end, _SEQUENCE)
        if at < end and der[at] == _VERSION:
            inner, at = read_header(der, at, end, _VERSION)
            inner, stop = read_header(der, inner, at, _INTEGER)
            if stop - inner != 1:
                raise KeyfobError("x509.malformed", "version of %d bytes" % (stop - inner))
            self.version = der[inner] + 1
        at = _skip(der, at, end)  # serialNumber
        at = _skip(der, at, end)  # signature
        self.issuer, at = _read_common_name(der, at, end)
        time_at, at = read_header(der, at, end, _SEQUENCE)
        self.not_before_s, time_at = _read_time(der, time_at, at)
        self.not_after_s, _ = _read_time(der, time_at, at)
        self.subject, at = _read_common_name(der, at, end)
        at = _skip(der, at, end)  # subjectPublicKeyInfo
        while at < end and der[at] != _EXTENSIONS:
            at = _skip(der, at, end)  # the unique identifiers of version 2
        if at < end:
            at, end = read_header(der, at, end, _EXTENSIONS)
            self._read_extensions(der, at, end)

    def _read_extensions(self, der: bytes | memoryview, at: int, end: int) -> None:
        at, end = read_header(der, at, end, _SEQUENCE)
        while at < end:
            inner, at = read_header(der, at, end, _SEQUENCE)
            if bytes(der[inner : inner + len(_SAN_OID)]) != _SAN_OID:
                continue
            inner = _skip(der, inner, at)
            while inner < at and der[inner] != _OCTET_STRING:
                inner = _skip(der, inner, at)  # critical
            inner, san_end = read_header(der, inner, at, _OCTET_STRING)
            inner, san_end = read_header(der, inner, san_end, _SEQUENCE)
            self._read_names(der, inner, san_end)

    def _read_names(self, der: bytes | memoryview, at: int, end: int) -> None:
        while at < end and len(self.names) < _MAX_NAMES:
            tag = der[at]
            start, at = read_header(der, at, end, tag)
            stop = min(at, start + _MAX_NAME_BYTES)
            if tag == _NAME_DNS:
                self.names.append(_text(der, start, stop))
            elif tag == _NAME_IP:
                separator = "." if at - start == 4 else ":"
                self.names.append(separator.join(str(byte) for byte in der[start:stop]))


def read_header(der: bytes | memoryview, at: int, end: int, tag: int) -> tuple:
    """(start, end) of the content of the element at ``at``, which must have ``tag``.

    Definite lengths of at most two bytes (DER; a certificate above 64 KB is none of
    ours). Errors: x509.malformed.
    """
    if at + 2 > end or der[at] != tag:
        seen = der[at] if at < end else -1
        raise KeyfobError("x509.malformed", "offset %d: tag %d, want %d" % (at, seen, tag))
    size = der[at + 1]
    at += 2
    if size >= 0x80:
        count = size & 0x7F
        if not 1 <= count <= 2 or at + count > end:
            raise KeyfobError("x509.malformed", "offset %d: length of %d bytes" % (at, count))
        size = 0
        for index in range(at, at + count):
            size = size << 8 | der[index]
        at += count
    if at + size > end:
        raise KeyfobError(
            "x509.malformed", "offset %d: %d bytes, %d are left" % (at, size, end - at)
        )
    return at, at + size


def _skip(der: bytes | memoryview, at: int, end: int) -> int:
    if at >= end:
        raise KeyfobError("x509.malformed", "offset %d: nothing is left" % at)
    return read_header(der, at, end, der[at])[1]


def _read_common_name(der: bytes | memoryview, at: int, end: int) -> tuple:
    """(common name of the Name at ``at``, offset behind), RFC 5280 section 4.1.2.4."""
    at, behind = read_header(der, at, end, _SEQUENCE)
    found = ""
    while at < behind:
        inner, at = read_header(der, at, behind, _SET)
        inner, stop = read_header(der, inner, at, _SEQUENCE)
        is_common_name = bytes(der[inner : inner + len(_COMMON_NAME_OID)]) == _COMMON_NAME_OID
        inner = _skip(der, inner, stop)
        if is_common_name and inner < stop:
            inner, stop = read_header(der, inner, stop, der[inner])
            found = _text(der, inner, min(stop, inner + _MAX_NAME_BYTES))
    return found, behind


def _text(der: bytes | memoryview, start: int, stop: int) -> str:
    return "".join(chr(byte) for byte in der[start:stop])


def _read_time(der: bytes | memoryview, at: int, end: int) -> tuple:
    """(Unix seconds, offset behind). RFC 5280 section 4.1.2.5: always Zulu, with seconds."""
    kind = der[at] if at < end else -1
    start, behind = read_header(der, at, end, kind)
    text = _text(der, start, behind)
    if kind == _UTC_TIME and len(text) == 13:
        text = ("19" if text[0] >= "5" else "20") + text
    elif kind != _GENERALIZED_TIME or len(text) != 15:
        raise KeyfobError("x509.malformed", "offset %d: time %r" % (at, text))
    if text[14] != "Z" or not _is_decimal(text[:14]):
        raise KeyfobError("x509.malformed", "offset %d: time %r" % (at, text))
    seconds = int(text[8:10]) * 3600 + int(text[10:12]) * 60 + int(text[12:14])
    days = days_from_civil(int(text[:4]), int(text[4:6]), int(text[6:8]))
    return days * 86_400 + seconds, behind


def _is_decimal(text: str) -> bool:
    # str.isdigit() of CPython takes superscripts too, which int() does not.
    return all("0" <= character <= "9" for character in text)


def days_from_civil(year: int, month: int, day: int) -> int:
    """Days since 1970-01-01 in the Gregorian calendar.

    Counted here because `time.mktime` has another epoch on each port and, on some,
    no years after 2036.
    """
    if month <= 2:
        year -= 1
        month += 12
    return (
        365 * year
        + year // 4
        - year // 100
        + year // 400
        + (153 * month - 457) // 5
        + day
        - 719_469
    )


def date_text(unix_s: int) -> str:
    """``2026-11-21T08:32:33Z``; the way back from `days_from_civil`, for evidence."""
    days, seconds = unix_s // 86_400, unix_s % 86_400
    # Eras of 400 years that begin on 1 March of year 0, so that a leap day ends its year.
    days += 719_468
    era, day_of_era = days // 146_097, days % 146_097
    year = (day_of_era - day_of_era // 1460 + day_of_era // 36_524 - day_of_era // 146_096) // 365
    day = day_of_era - (365 * year + year // 4 - year // 100)
    month = (5 * day + 2) // 153
    day = day - (153 * month + 2) // 5 + 1
    month += 3 if month < 10 else -9
    year += era * 400 + (month <= 2)
    return "%04d-%02d-%02dT%02d:%02d:%02dZ" % (
        year, month, day, seconds // 3600, seconds // 60 % 60, seconds % 60
    )  # fmt: skip
