"""A certificate's fields, in place, and the few facts that evidence needs.

RFC 5280 section 4.1, strictly: the whole structure is read, and refused where it is not
DER or not what that section says. Nothing is judged here: a certificate of version 1
or with a weak signature is read all the same. Path, signatures and usages are
`keyfob.pki.path`'s; names `keyfob.pki.names`'s.

Not checked: what is inside extensions other than the subject alternative name.
"""

from micropython import const

from keyfob.pki.der import Reader, hex_text

_OCTET_STRING = const(0x04)
_UTC_TIME = const(0x17)
_GENERALIZED_TIME = const(0x18)
_SEQUENCE = const(0x30)
_SET = const(0x31)
_VERSION = const(0xA0)
_ISSUER_ID = const(0x81)
_SUBJECT_ID = const(0x82)
_EXTENSIONS = const(0xA3)
_NAME_DNS = const(0x82)
_NAME_IP = const(0x87)
_MAX_SERIAL_BYTES = const(20)
_MAX_EXTENSIONS = const(32)
_MAX_NAMES = const(4)
# They go into an error's evidence, before anybody vouches for them.
_MAX_NAME_BYTES = const(64)
_SAN_OID = b"\x55\x1d\x11"
_COMMON_NAME_OID = b"\x55\x04\x03"


class Certificate:
    """``version`` (1 to 3), ``not_before_s`` and ``not_after_s`` (Unix seconds).

    Views of ``der``, which must stay as it is while they are used: ``tbs`` (what is
    signed), ``algorithm`` (AlgorithmIdentifier), ``signature``, ``issuer_name`` and
    ``subject_name`` (Name), ``spki`` (SubjectPublicKeyInfo), ``san`` (the extension's
    value, None where there is none).
    """

    def __init__(self, der: bytes | memoryview) -> None:
        """Errors: x509.malformed."""
        reader = Reader(der)
        behind = reader.enter(_SEQUENCE)
        start = reader.at
        self.tbs = reader.whole(_SEQUENCE)
        self.algorithm = reader.whole(_SEQUENCE)
        self.signature = reader.bit_string()
        reader.leave(behind)
        reader.finish()
        reader.at = start
        self._read_tbs(reader)

    def _read_tbs(self, reader: Reader) -> None:
        outer = reader.enter(_SEQUENCE)
        self.version = self._read_version(reader)
        serial = reader.integer()
        if len(serial) > _MAX_SERIAL_BYTES:
            reader.fail("serial of %d bytes, want at most 20" % len(serial))
        algorithm = reader.whole(_SEQUENCE)
        if algorithm != self.algorithm:
            # RFC 5280 section 4.1.1.2: only one of them is signed.
            reader.fail(
                "algorithm %s inside, %s outside"
                % (hex_text(algorithm[4:]), hex_text(self.algorithm[4:]))
            )
        self.issuer_name = reader.whole(_SEQUENCE)
        validity = reader.enter(_SEQUENCE)
        self.not_before_s = _read_time(reader)
        self.not_after_s = _read_time(reader)
        reader.leave(validity)
        self.subject_name = reader.whole(_SEQUENCE)
        self.spki = reader.whole(_SEQUENCE)
        for tag in (_ISSUER_ID, _SUBJECT_ID):
            if self.version > 1 and reader.peek() == tag:
                reader.take(tag)
        self._extensions = None
        self.san = None
        if self.version == 3 and reader.peek() == _EXTENSIONS:
            self._extensions = reader.take(_EXTENSIONS)
        reader.leave(outer)
        # Once through all of them, so that what is lazy below cannot fail any more.
        _common_name(self.issuer_name)
        _common_name(self.subject_name)
        for oid, _, value in self.extensions():
            if oid == _SAN_OID:
                self.san = value
        for _ in self.alternative_names():
            pass

    def _read_version(self, reader: Reader) -> int:
        if reader.peek() != _VERSION:
            return 1
        outer = reader.enter(_VERSION)
        version = reader.small_integer(2) + 1
        if version == 1:
            reader.fail("version 1 said, which is the default")
        reader.leave(outer)
        return version

    def extensions(self):
        """(OID, whether it is critical, value) of each; every OID once (section 4.2)."""
        if self._extensions is None:
            return
        reader = Reader(self._extensions)
        behind = reader.enter(_SEQUENCE)
        seen: list[bytes] = []
        while reader.at < reader.end or not seen:
            outer = reader.enter(_SEQUENCE)
            oid = reader.oid()
            if oid in seen or len(seen) == _MAX_EXTENSIONS:
                reader.fail("extension %s twice, or behind 32 others" % hex_text(oid))
            seen.append(oid)
            is_critical = reader.is_true()
            value = reader.take(_OCTET_STRING)
            reader.leave(outer)
            yield oid, is_critical, value
        reader.leave(behind)
        reader.finish()

    def alternative_names(self):
        """(tag, content) of each GeneralName of the SAN (section 4.2.1.6)."""
        if self.san is None:
            return
        reader = Reader(self.san)
        behind = reader.enter(_SEQUENCE)
        while True:
            tag = reader.peek()
            if tag & 0xC0 != 0x80:
                reader.fail("tag %d, want a GeneralName" % tag)
            content = reader.take(tag)
            if tag == _NAME_IP and len(content) not in (4, 16):
                reader.fail("address of %d bytes, want 4 or 16" % len(content))
            yield tag, content
            if reader.at == reader.end:
                break
        reader.leave(behind)
        reader.finish()

    @property
    def issuer(self) -> str:
        """The common name, cut at 64 bytes; "" where there is none."""
        return _common_name(self.issuer_name)

    @property
    def subject(self) -> str:
        """The common name, cut at 64 bytes; "" where there is none."""
        return _common_name(self.subject_name)

    @property
    def names(self) -> list:
        """The first four DNS names and IP addresses of the SAN, each cut at 64 bytes."""
        found: list[str] = []
        for tag, content in self.alternative_names():
            if len(found) == _MAX_NAMES:
                break
            if tag in (_NAME_DNS, _NAME_IP):
                found.append(general_name_text(tag, content))
        return found


def general_name_text(tag: int, content) -> str:
    """A GeneralName, or the base of a name constraint, for evidence."""
    size = len(content)
    if tag != _NAME_IP or not size:
        return _text(content)
    if size > 16 or size == 8:
        half = size // 2
        return general_name_text(tag, content[:half]) + "/" + hex_text(content[half:])
    if size == 4:
        return ".".join(str(byte) for byte in content)
    groups = (content[at] << 8 | content[at + 1] for at in range(0, size, 2))
    return ":".join("%x" % group for group in groups)


def _common_name(name: memoryview) -> str:
    """The last common name of a Name, RFC 5280 section 4.1.2.4; "" where there is none."""
    found = None
    reader = Reader(name)
    reader.enter(_SEQUENCE)
    while reader.at < reader.end:
        outer = reader.enter(_SET)
        while True:
            behind = reader.enter(_SEQUENCE)
            oid = reader.oid()
            start = reader.at
            reader.skip()
            if oid == _COMMON_NAME_OID:
                reader.at = start
                found = reader.take(reader.peek())
            reader.leave(behind)
            if reader.at == reader.end:
                break
        reader.leave(outer)
    return _text(found) if found else ""


def _text(content: memoryview) -> str:
    return "".join(chr(byte) for byte in content[:_MAX_NAME_BYTES])


def _read_time(reader: Reader) -> int:
    """Unix seconds. RFC 5280 section 4.1.2.5: always Zulu, with seconds, two digits of
    the year until 2049 and four from then on."""
    kind = reader.peek()
    size = 13 if kind == _UTC_TIME else 15
    content = reader.take(kind if kind == _UTC_TIME else _GENERALIZED_TIME)
    text = _text(content)
    if len(text) != size or text[-1] != "Z" or not _is_decimal(text[:-1]):
        reader.fail("time %r, want %d characters, digits and Z" % (text, size))
    if kind == _UTC_TIME:
        text = ("19" if text[0] >= "5" else "20") + text
    year, month, day = int(text[:4]), int(text[4:6]), int(text[6:8])
    hour, minute, second = int(text[8:10]), int(text[10:12]), int(text[12:14])
    if kind != _UTC_TIME and year < 2050:
        reader.fail("time %r, want two digits of the year until 2049" % text)
    if not 1 <= month <= 12 or hour > 23 or minute > 59 or second > 59 or not day:
        reader.fail("time %r, want one that exists" % text)
    days = days_from_civil(year, month, day)
    if days >= days_from_civil(year, month + 1, 1):
        reader.fail("time %r, want a day that exists" % text)
    return days * 86_400 + hour * 3600 + minute * 60 + second


def _is_decimal(text: str) -> bool:
    # str.isdigit() of CPython takes superscripts too, which int() does not.
    return all("0" <= character <= "9" for character in text)


def days_from_civil(year: int, month: int, day: int) -> int:
    """Days since 1970-01-01 in the Gregorian calendar; month 13 is the next January.

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
