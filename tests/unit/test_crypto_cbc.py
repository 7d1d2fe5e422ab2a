"""keyfob.crypto.cbc: fragments by `cryptography`, and what makes one not genuine.

Wrong paddings under a right MAC are in test_crypto_differential.py.
"""

from binascii import unhexlify

from device_support import HERE  # noqa: F401 - puts the firmware and cryptolib on the path

from keyfob.crypto.cbc import Cbc

KEY = bytes(range(16))
MAC_KEY = bytes(range(100, 132))
HEAD = bytes(7) + b"\x05\x17\x03\x03"
TEXT = b"keyfob" * 3
# IV 200 to 215; the first has 32 bytes of padding more than it needs.
MAC_FIRST = unhexlify(
    "c8c9cacbcccdcecfd0d1d2d3d4d5d6d76cf49931ea39cbac88d9b98f30dd562e50eb6628aaa39ffe"
    "98a6f6c5326cdaef21da4413729ed0fcd46b88f801b316a0842ef3404c12d6ef8ea90c738a3955b5"
    "d64d581cc912e35192428c8515aef60b3f04abb43ed467c76a165ef68a23e8fb"
)
MAC_LAST = unhexlify(
    "c8c9cacbcccdcecfd0d1d2d3d4d5d6d76cf49931ea39cbac88d9b98f30dd562e017cbb7cbd4049fb"
    "17b150a56e7117525103b5ec07a474d2b719f4f40d5bc568795fa23df8344d62361138dc303140db"
)
FRAGMENTS = ((MAC_FIRST, False), (MAC_LAST, True))


def test_fragments_of_another_implementation_are_opened():
    for fragment, is_mac_last in FRAGMENTS:
        buffer = bytearray(b"<<<" + fragment + b">>")
        place = Cbc(KEY, MAC_KEY, is_mac_last).open(buffer, 3, 3 + len(fragment), HEAD)
        assert place == (19, 37)
        assert buffer[19:37] == TEXT
        assert buffer[:3] == b"<<<" and buffer[-2:] == b">>"


def test_every_flipped_bit_is_refused():
    for fragment, is_mac_last in FRAGMENTS:
        keys = Cbc(KEY, MAC_KEY, is_mac_last)
        for index in range(len(fragment)):
            bad = bytearray(fragment)
            bad[index] ^= 1 << index % 8
            assert keys.open(bad, 0, len(bad), HEAD) is None, index
        for index in range(len(HEAD)):
            head = bytearray(HEAD)
            head[index] ^= 1
            assert keys.open(bytearray(fragment), 0, len(fragment), bytes(head)) is None


def test_wrong_keys_and_the_other_order_are_refused():
    for fragment, is_mac_last in FRAGMENTS:
        for keys in (
            Cbc(MAC_KEY[:16], MAC_KEY, is_mac_last),
            Cbc(KEY, KEY + KEY, is_mac_last),
            Cbc(KEY, MAC_KEY, not is_mac_last),
        ):
            assert keys.open(bytearray(fragment), 0, len(fragment), HEAD) is None


def test_every_other_length_is_refused():
    for fragment, is_mac_last in FRAGMENTS:
        keys = Cbc(KEY, MAC_KEY, is_mac_last)
        for size in range(len(fragment)):
            assert keys.open(bytearray(fragment[:size]), 0, size, HEAD) is None, size
        longer = bytearray(fragment + bytes(16))
        assert keys.open(longer, 0, len(longer), HEAD) is None


def test_whatever_is_sealed_can_be_opened_and_has_an_iv_of_its_own():
    for is_mac_last in (False, True):
        keys = Cbc(KEY, MAC_KEY, is_mac_last)
        for size in (0, 1, 15, 16, 17, 31, 32, 33, 100, 255, 256, 300):
            text = bytes(index & 255 for index in range(size))
            buffer = bytearray(b"<" + bytes(16) + text + b"\x55" * 49)
            end = keys.seal(buffer, 1, 17 + size, HEAD)
            assert size + 17 + 32 < end <= size + 17 + 48
            assert not (end - 1) & 15 and buffer[end:] == b"\x55" * (len(buffer) - end)
            fragment = bytes(buffer)
            again = bytearray(b"<" + bytes(16) + text + b"\x55" * 49)
            assert keys.seal(again, 1, 17 + size, HEAD) == end and again != buffer
            start, stop = keys.open(buffer, 1, end, HEAD)
            assert buffer[start:stop] == text and fragment[0:1] == b"<"
