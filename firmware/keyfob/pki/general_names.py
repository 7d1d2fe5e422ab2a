"""GeneralNames, read strictly: RFC 5280 section 4.2.1.6. Errors: x509.malformed."""

from micropython import const

from keyfob.pki.der import Reader, hex_text

_SEQUENCE = const(0x30)
_GENERAL_NAMES = b"\x81\x82\x86\x87\x88\xa0\xa3\xa4\xa5"
_IA5_NAMES = b"\x81\x82\x86"
_NAME_IP = const(0x87)


def alternative_names(fields):
    """(tag, content) of each GeneralName of the SAN; ``fields``: `keyfob.pki.fields.Fields`."""
    if fields.san is None:
        return
    reader = Reader(fields.san)
    outer = reader.enter(_SEQUENCE)
    while True:
        tag, content = read_general_name(reader)
        if tag == _NAME_IP and len(content) not in (4, 16):
            reader.fail("address of %d bytes, want 4 or 16" % len(content))
        yield tag, content
        if reader.at == reader.end:
            break
    reader.leave(outer)
    reader.finish()


def read_general_name(reader: Reader) -> tuple:
    """(tag, content) of a GeneralName."""
    tag = reader.peek()
    if tag < 0 or tag not in _GENERAL_NAMES:
        reader.fail("tag %d, want a GeneralName" % tag)
    content = reader.take(tag)
    if tag in _IA5_NAMES and any(byte > 0x7F for byte in content):
        reader.fail("name %s that is no IA5String" % hex_text(content))
    return tag, content
