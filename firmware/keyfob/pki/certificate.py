"""A certificate's facts in texts for people: evidence, the shell, the log.

Nothing is judged here; `keyfob.pki.fields` reads, strictly. Every text is cut at 64
bytes, since it may be shown before anybody vouches for it.
"""

from micropython import const

from keyfob.pki.der import Reader, hex_text
from keyfob.pki.fields import Fields
from keyfob.pki.general_names import alternative_names

_SEQUENCE = const(0x30)
_SET = const(0x31)
_NAME_DNS = const(0x82)
_NAME_IP = const(0x87)
_NAME_DIRECTORY = const(0xA4)
_MAX_NAMES = const(4)
_MAX_NAME_BYTES = const(64)
_COMMON_NAME_OID = b"\x55\x04\x03"


class Certificate(Fields):
    """``issuer`` and ``subject`` (common names, "" where there is none), and ``names``: DNS
    names and IP addresses of the SAN as text, the first four."""

    def __init__(self, der: bytes | memoryview) -> None:
        """Errors: x509.malformed."""
        from keyfob.pki.reading import read

        read(der, self)

    @property
    def issuer(self) -> str:
        return common_name(self.issuer_name)

    @property
    def subject(self) -> str:
        return common_name(self.subject_name)

    @property
    def names(self) -> list:
        return host_names(self)


def who(fields: Fields) -> str:
    """How evidence names the certificate."""
    subject = common_name(fields.subject_name)
    text = repr(subject) if subject else "(no common name)"
    return "trust anchor " + text if fields.is_anchor else text


def host_names(fields: Fields) -> list:
    """The first four DNS names and IP addresses of the SAN."""
    found: list[str] = []
    for tag, content in alternative_names(fields):
        if len(found) == _MAX_NAMES:
            break
        if tag in (_NAME_DNS, _NAME_IP):
            found.append(general_name_text(tag, content))
    return found


def general_name_text(tag: int, content) -> str:
    """A GeneralName, or the base of a name constraint."""
    size = len(content)
    if tag == _NAME_DIRECTORY:
        return "/".join([_text(value) for _, value in _attributes(content)])
    if tag != _NAME_IP or not size:
        return _text(content)
    if size > 16 or size == 8:
        half = size // 2
        return general_name_text(tag, content[:half]) + "/" + hex_text(content[half:])
    if size == 4:
        return ".".join(str(byte) for byte in content)
    groups = (content[at] << 8 | content[at + 1] for at in range(0, size, 2))
    return ":".join("%x" % group for group in groups)


def common_name(name: memoryview) -> str:
    """The last common name of a Name, RFC 5280 section 4.1.2.4; "" where there is none."""
    found = ""
    for oid, content in _attributes(name):
        if oid == _COMMON_NAME_OID:
            found = _text(content)
    return found


def _attributes(name):
    """(OID, content) of each attribute of a Name."""
    reader = Reader(name)
    reader.enter(_SEQUENCE)
    while reader.at < reader.end:
        outer = reader.enter(_SET)
        while reader.at < reader.end:
            behind = reader.enter(_SEQUENCE)
            yield reader.oid(), reader.take(reader.peek())
            reader.leave(behind)
        reader.leave(outer)


def _text(content) -> str:
    return "".join(chr(byte) for byte in content[:_MAX_NAME_BYTES])


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
