"""Whether text is well-formed UTF-8: MQTT 3.1.1 section 1.5.3, MQTT 5.0 section 1.5.4.

Imported for text with a character beyond ASCII, as MicroPython (1.25 and 1.29) reads and
writes what RFC 3629 forbids: surrogates, characters above U+10FFFF, and those that take more
bytes than they need, NUL among them. Not checked: control characters and non-characters,
which a receiver may take.
"""


def is_sound(text: str) -> bool:
    """Of what was decoded, or is to be sent."""
    try:
        size = len(text.encode())
    except ValueError:
        return False  # CPython's word for a surrogate
    for character in text:
        code = ord(character)
        if 0xD800 <= code < 0xE000 or code > 0x10FFFF:
            return False
        size -= 1 + (code > 0x7F) + (code > 0x7FF) + (code > 0xFFFF)
    return not size
