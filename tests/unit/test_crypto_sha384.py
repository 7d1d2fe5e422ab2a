"""keyfob.crypto.sha384: NIST's examples for FIPS 180-4, and every length about a block."""

from binascii import unhexlify

from device_support import HERE  # noqa: F401 - puts the firmware on the path

from keyfob.crypto.sha384 import sha384

# "SHA-384 example (one block)" and "(two blocks)", and the digest of nothing.
EXAMPLES = (
    (
        b"abc",
        "cb00753f45a35e8bb5a03d699ac65007272c32ab0eded163"
        "1a8b605a43ff5bed8086072ba1e7cc2358baeca134c825a7",
    ),
    (
        b"abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmn"
        b"hijklmnoijklmnopjklmnopqklmnopqrlmnopqrsmnopqrstnopqrstu",
        "09330c33f71147e83d192fc782cd1b4753111b173b3b05d2"
        "2fa08086e3b0f712fcc7c71a557e2db966c3e9fa91746039",
    ),
    (
        b"",
        "38b060a751ac96384cd9327eb1b1e36a21fdb71114be0743"
        "4c0cc7bf63f6e1da274edebfe76f65fbd51ad2f14898b95b",
    ),
)
# By CPython's hashlib: the digest of the digests of bytes 0, 1, 2 …, of all lengths below.
ALL_LENGTHS = (
    "9667c1e9af7c4d934045df10041dc6ecabd01139614ce7fe"
    "efe95df80d6a3e4858077946ceb1702ad87b1669d3bd2190"
)


def test_examples_of_nist():
    for text, want in EXAMPLES:
        assert sha384(text).digest() == unhexlify(want)


def test_pieces_are_hashed_as_one_and_digest_can_be_taken_on_the_way():
    text, want = EXAMPLES[1]
    for size in (1, 3, 50, 111, 112):
        made = sha384()
        for at in range(0, len(text), size):
            made.update(memoryview(bytearray(text))[at : at + size])
            if at == size:
                assert made.digest() == sha384(text[: 2 * size]).digest()
        assert made.digest() == unhexlify(want)


def test_every_length_about_the_block_and_its_padding():
    every = sha384()
    for size in (0, 1, 110, 111, 112, 113, 127, 128, 129, 239, 240, 241, 255, 256, 257, 300):
        data = bytes(index & 255 for index in range(size))
        made = sha384(data[: size >> 1])
        made.update(data[size >> 1 :])
        every.update(made.digest())
    assert every.digest() == unhexlify(ALL_LENGTHS)
