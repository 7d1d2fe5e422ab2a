"""A certificate's fields, read in place: RFC 5280 sections 4.1 and 4.2, strictly.

The whole structure is read, and refused where it is not DER or not what those sections
say. Nothing is judged: a certificate of version 1, with a weak signature or with an
unknown extension is read all the same. What they mean on a path is
`keyfob.pki.search`'s matter, texts of them for people `keyfob.pki.certificate`'s.

Read as critical, whatever it says, are policy constraints: a path that they forbid must
not pass because its CA forgot to mark them (section 4.2.1.11).

Not checked: the inside of extensions other than key usage, extended key usage, subject
alternative name, basic constraints and key identifiers; name constraints are read by
`keyfob.pki.constraints`. Errors: x509.malformed.
"""

from micropython import const

from keyfob.errors import KeyfobError
from keyfob.pki.der import Reader, hex_text
from keyfob.pki.fields import Fields
from keyfob.pki.general_names import alternative_names

_INTEGER = const(0x02)
_BIT_STRING = const(0x03)
_OCTET_STRING = const(0x04)
_UTC_TIME = const(0x17)
_GENERALIZED_TIME = const(0x18)
_SEQUENCE = const(0x30)
_SET = const(0x31)
_VERSION = const(0xA0)
_ISSUER_ID = const(0x81)
_SUBJECT_ID = const(0x82)
_EXTENSIONS = const(0xA3)
_KEY_ID = const(0x80)
_ISSUER_NAMES = const(0xA1)
_ISSUER_SERIAL = const(0x82)
_ID_CE = b"\x55\x1d"
_SUBJECT_KEY_ID = const(14)
_KEY_USAGE = const(15)
_SAN = const(17)
_BASIC_CONSTRAINTS = const(19)
_NAME_CONSTRAINTS = const(30)
_POLICY_CONSTRAINTS = const(36)
_AUTHORITY_KEY_ID = const(35)
_EXTENDED_KEY_USAGE = const(37)
_EMPTY_BYTES = const(2)
_MAX_SERIAL_BYTES = const(20)
_MAX_EXTENSIONS = const(32)
_MAX_PATH_LENGTH = const(0xFFFF)


def read(der: bytes | memoryview, fields=None) -> Fields:
    """The fields of ``der``, put into ``fields`` if there are some. Errors: x509.malformed."""
    fields = fields or Fields()
    reader = Reader(der)
    behind = reader.enter(_SEQUENCE)
    start = reader.at
    fields.tbs = reader.whole(_SEQUENCE)
    fields.algorithm = reader.whole(_SEQUENCE)
    fields.signature = reader.bit_string()
    reader.leave(behind)
    reader.finish()
    reader.at = start
    outer = reader.enter(_SEQUENCE)
    _read_head(fields, reader)
    _read_rest(fields, reader)
    reader.leave(outer)
    return fields


def _read_head(fields: Fields, reader: Reader) -> None:
    fields.version = 1
    if reader.peek() == _VERSION:
        outer = reader.enter(_VERSION)
        fields.version = reader.small_integer(2) + 1
        if fields.version == 1:
            reader.fail("version 1 said, which is the default")
        reader.leave(outer)
    size = len(reader.integer())
    if size > _MAX_SERIAL_BYTES:
        reader.fail("serial of %d bytes, want at most 20" % size)
    algorithm = reader.whole(_SEQUENCE)
    if algorithm != fields.algorithm:
        # RFC 5280 section 4.1.1.2: only one of them is signed.
        texts = (hex_text(algorithm[4:]), hex_text(fields.algorithm[4:]))
        reader.fail("algorithm %s inside, %s outside" % texts)
    fields.issuer_name = _read_name(reader)
    if len(fields.issuer_name) == _EMPTY_BYTES:
        reader.fail("no issuer")  # section 4.1.2.4
    outer = reader.enter(_SEQUENCE)
    fields.not_before_s = _read_time(reader)
    fields.not_after_s = _read_time(reader)
    reader.leave(outer)


def _read_rest(fields: Fields, reader: Reader) -> None:
    fields.subject_name = _read_name(reader)
    fields.spki = reader.whole(_SEQUENCE)
    for tag in (_ISSUER_ID, _SUBJECT_ID):
        if fields.version > 1 and reader.peek() == tag:
            reader.take(tag)
    if fields.version < 3 or reader.peek() != _EXTENSIONS:
        return
    outer = reader.enter(_EXTENSIONS)
    inner = reader.enter(_SEQUENCE)
    seen: list[bytes] = []
    while reader.at < reader.end or not seen:
        behind = reader.enter(_SEQUENCE)
        oid = reader.oid()
        if oid in seen or len(seen) == _MAX_EXTENSIONS:
            reader.fail("extension %s twice, or behind 32 others" % hex_text(oid))
        seen.append(oid)
        is_critical = reader.is_true()
        _read_extension(fields, oid, is_critical, reader.take(_OCTET_STRING))
        reader.leave(behind)
    reader.leave(inner)
    reader.leave(outer)


def _read_extension(fields: Fields, oid: bytes, is_critical: bool, value: memoryview) -> None:
    number = oid[2] if len(oid) == 3 and oid[:2] == _ID_CE else 0
    reader = Reader(value)
    if number == _BASIC_CONSTRAINTS:
        outer = reader.enter(_SEQUENCE)
        fields.is_ca = reader.is_true()
        # A path length is a CA's only (section 4.2.1.9).
        if fields.is_ca and reader.peek() == _INTEGER:
            fields.path_length = reader.small_integer(_MAX_PATH_LENGTH)
        reader.leave(outer)
    elif number == _KEY_USAGE:
        fields.key_usage = _read_key_usage(reader)
    elif number == _EXTENDED_KEY_USAGE:
        outer = reader.enter(_SEQUENCE)
        fields.usages = [reader.oid()]
        while reader.at < reader.end:
            fields.usages.append(reader.oid())
        reader.leave(outer)
    elif number == _SAN:
        fields.san = value
        for _ in alternative_names(fields):
            pass
        if not is_critical and len(fields.subject_name) == _EMPTY_BYTES:
            reader.fail("no subject, and its alternative is not critical")  # section 4.1.2.6
        return
    elif number == _NAME_CONSTRAINTS:
        fields.name_constraints = value
        return
    elif is_critical or number == _POLICY_CONSTRAINTS:
        fields.critical += (oid,)
        return
    elif number == _SUBJECT_KEY_ID:
        fields.key_id = reader.take(_OCTET_STRING)
    elif number == _AUTHORITY_KEY_ID:
        outer = reader.enter(_SEQUENCE)
        if reader.peek() == _KEY_ID:
            fields.authority_key_id = reader.take(_KEY_ID)
        if reader.peek() == _ISSUER_NAMES:
            reader.skip()
            reader.take(_ISSUER_SERIAL)  # both or none (section 4.2.1.1)
        reader.leave(outer)
    else:
        return
    reader.finish()


def read_anchors(anchors, certificates: list) -> list:
    """Those of ``anchors`` (DER buffers) that have issued one of ``certificates`` by name.
    Errors: x509.bad-anchor."""
    names = [fields.issuer_name for fields in certificates]
    found = []
    for der in anchors:
        try:
            anchor = read(der)
        except KeyfobError as error:
            raise KeyfobError("x509.bad-anchor", error.detail)
        anchor.is_anchor = True
        if anchor.subject_name in names:
            found.append(anchor)
    return found


def _read_name(reader: Reader) -> memoryview:
    """A Name with its header, its parts looked at (section 4.1.2.4)."""
    start = reader.at
    outer = reader.enter(_SEQUENCE)
    while reader.at < reader.end:
        behind = reader.enter(_SET)
        while True:
            inner = reader.enter(_SEQUENCE)
            reader.oid()
            reader.skip()
            reader.leave(inner)
            if reader.at == reader.end:
                break
        reader.leave(behind)
    reader.leave(outer)
    return reader.der[start : reader.at]


def _read_key_usage(reader: Reader) -> int:
    content = reader.take(_BIT_STRING)
    # A named bit list ends with a bit that is set (X.690 section 11.2.2).
    if not 2 <= len(content) <= 3 or content[0] > 7:
        reader.fail("key usage of %d bytes" % len(content))
    if content[-1] & ((2 << content[0]) - 1) != 1 << content[0]:
        reader.fail("key usage ends with %02x, %d bits unused" % (content[-1], content[0]))
    return content[1]


def _read_time(reader: Reader) -> int:
    """Unix seconds. RFC 5280 section 4.1.2.5: always Zulu, with seconds, two digits of
    the year until 2049 and four from then on."""
    kind = reader.peek()
    size = 13 if kind == _UTC_TIME else 15
    content = bytes(reader.take(kind if kind == _UTC_TIME else _GENERALIZED_TIME))
    if (
        len(content) != size
        or content[-1] != 0x5A
        or not all(0x30 <= d <= 0x39 for d in content[:-1])
    ):
        reader.fail("time %r, want %d characters, digits and Z" % (content[:16], size))
    numbers = [int(content[at : at + 2]) for at in range(0, size - 1, 2)]
    year = 1900 + numbers[0] + (100 if numbers[0] < 50 else 0)
    if kind != _UTC_TIME:
        year = numbers.pop(0) * 100 + numbers[0]
    _, month, day, hour, minute, second = numbers
    is_right = 1 <= month <= 12 and day and hour < 24 and minute < 60 and second < 60
    days = days_from_civil(year, month, day)
    is_right = is_right and days < days_from_civil(year, month + 1, 1)
    if not is_right or (kind != _UTC_TIME and year < 2050):
        reader.fail("time %r, want one that exists, of four digits from 2050 on" % content)
    return days * 86_400 + hour * 3600 + minute * 60 + second


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
