"""Whether text is well-formed UTF-8: MQTT 3.1.1 section 1.5.3, MQTT 5.0 section 1.5.4.

Imported for text with a character beyond ASCII, as MicroPython (1.25 and 1.29) reads and
writes what RFC 3629 forbids: surrogates, characters above U+10FFFF, and those that take more
bytes than they need, NUL among them. Not checked: control characters and non-characters,
which a receiver may take.
"""


def is_sound(data: bytes) -> bool:
    """Of what was decoded, or is to be sent: its bytes, as MicroPython makes a name that it
    keeps for ever of each character of a text that it goes through."""
    at, end = 0, len(data)
    while at < end:
        first = data[at]
        at += 1
        if first < 0x80:
            continue
        more = (first >= 0xC2) + (first >= 0xE0) + (first >= 0xF0)
        if not more or first > 0xF4 or at + more > end:
            return False
        code = first & (0x3F >> more)
        for _ in range(more):
            if data[at] & 0xC0 != 0x80:
                return False
            code = code << 6 | data[at] & 0x3F
            at += 1
        if code < (0x80, 0x800, 0x10000)[more - 1]:
            return False  # fewer bytes would do
        if 0xD800 <= code < 0xE000 or code > 0x10FFFF:
            return False
    return True
