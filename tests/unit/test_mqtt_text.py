"""UTF-8 as RFC 3629 has it, against CPython's decoder, byte by byte; CPython only."""

from __future__ import annotations

from itertools import product

from keyfob.mqtt.text import is_sound

# Both sides of every border in RFC 3629's grammar, section 4.
BORDERS = bytes.fromhex(
    "00 7F 80 8F 90 9F A0 BF C0 C1 C2 DF E0 E1 EC ED EE EF F0 F1 F3 F4 F5 F7 F8 FF"
)


def is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def test_every_two_bytes_are_judged_as_by_another_decoder() -> None:
    for pair in product(range(256), repeat=2):
        assert is_sound(bytes(pair)) == is_utf8(bytes(pair)), pair


def test_every_border_is_judged_as_by_another_decoder() -> None:
    sound = 0
    for size in (1, 3, 4):
        for drawn in product(BORDERS, repeat=size):
            data = bytes(drawn)
            assert is_sound(data) == is_utf8(data), data
            sound += is_utf8(data)
    assert sound > 100
