"""keyfob.crypto.gcm: AES-128 vectors of the GCM specification submitted to NIST."""

from binascii import unhexlify

from device_support import HERE  # noqa: F401 - puts the firmware and cryptolib on the path

from keyfob.crypto.gcm import Gcm

_KEY = unhexlify("feffe9928665731c6d6a8f9467308308")
_NONCE = unhexlify("cafebabefacedbaddecaf888")
_AAD = unhexlify("feedfacedeadbeeffeedfacedeadbeefabaddad2")
_TEXT = unhexlify(
    "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72"
    "1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b391aafd255"
)
_CIPHER = unhexlify(
    "42831ec2217774244b7221b784d0d49ce3aa212f2c02a4e035c17e2329aca12e"
    "21d514b25466931c7d8f6a5aac84aa051ba30b396a0aac973d58e091473f5985"
)
# Test cases 1 to 4: key, nonce, additional data, plaintext, ciphertext, tag.
CASES = (
    (bytes(16), bytes(12), b"", b"", b"", "58e2fccefa7e3061367f1d57a4e7455a"),
    (
        bytes(16),
        bytes(12),
        b"",
        bytes(16),
        unhexlify("0388dace60b6a392f328c2b971b2fe78"),
        "ab6e47d42cec13bdf53a67b21257bddf",
    ),
    (_KEY, _NONCE, b"", _TEXT, _CIPHER, "4d5c2af327cd64a62cf35abd2ba6fab4"),
    (_KEY, _NONCE, _AAD, _TEXT[:60], _CIPHER[:60], "5bc94fbc3221a5db94fae95ae7121a47"),
)


def test_seal_gives_ciphertext_and_tag_of_the_specification():
    for key, nonce, aad, text, cipher, tag in CASES:
        buffer = bytearray(b"<<<" + text + b">>>>>")
        assert Gcm(key).seal(buffer, 3, 3 + len(text), nonce, aad) == unhexlify(tag)
        assert buffer == b"<<<" + cipher + b">>>>>"


def test_open_gives_the_plaintext_and_leaves_the_rest_of_the_buffer():
    for key, nonce, aad, text, cipher, tag in CASES:
        buffer = bytearray(b"<<<" + cipher + b">>>>>")
        view = memoryview(buffer)
        assert Gcm(key).open(view, 3, 3 + len(text), nonce, aad, unhexlify(tag))
        assert buffer == b"<<<" + text + b">>>>>"


def test_one_flipped_bit_anywhere_is_refused_and_nothing_is_decrypted():
    key, nonce, aad, _, cipher, tag = CASES[3]
    whole = cipher + aad + nonce + unhexlify(tag)
    gcm = Gcm(key)
    for index in range(len(whole)):
        bad = bytearray(whole)
        bad[index] ^= 1 << (index % 8)
        parts = [bad[at:end] for at, end in ((0, 60), (60, 80), (80, 92), (92, 108))]
        before = bytes(parts[0])
        assert not gcm.open(parts[0], 0, 60, parts[2], parts[1], parts[3]), index
        assert parts[0] == before
    assert gcm.open(bytearray(cipher), 0, 60, nonce, aad, unhexlify(tag))


def test_tag_of_another_length_is_refused():
    key, nonce, aad, _, cipher, tag = CASES[3]
    for size in range(16):
        assert not Gcm(key).open(bytearray(cipher), 0, 60, nonce, aad, unhexlify(tag)[:size])
    assert not Gcm(key).open(bytearray(cipher), 0, 60, nonce, aad, unhexlify(tag) + b"\0")


def test_every_length_comes_back_as_it_went():
    gcm = Gcm(_KEY)
    text = _TEXT * 5
    for size in range(0, 300, 7):
        buffer = bytearray(text[:size])
        tag = gcm.seal(buffer, 0, size, _NONCE, _AAD[: size % 20])
        assert size < 8 or buffer != text[:size]
        # Counter mode: a shorter text has the beginning of the longer one's ciphertext.
        assert bytes(buffer[:64]) == _CIPHER[: min(size, 64)]
        assert gcm.open(buffer, 0, size, _NONCE, _AAD[: size % 20], tag)
        assert buffer == text[:size]
