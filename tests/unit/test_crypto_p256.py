"""keyfob.crypto.p256: RFC 6979 A.2.5, NIST's ECDH vectors, and what has to be refused.

Points and signatures not from there were made by `cryptography`.
"""

import hashlib
from binascii import unhexlify

from device_support import HERE  # noqa: F401 - puts the firmware on the path

from keyfob.crypto import p256

P = 0xFFFFFFFF00000001000000000000000000000000FFFFFFFFFFFFFFFFFFFFFFFF
N = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
# SEC 2 section 2.4.2: the base point.
BASE = unhexlify(
    "046b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296"
    "4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5"
)
NEGATIVE_BASE = BASE[:33] + (P - int.from_bytes(BASE[33:], "big")).to_bytes(32, "big")
# RFC 6979 A.2.5.
SECRET = unhexlify("C9AFA9D845BA75166B5C215767B1D6934E50C3DB36E89B127B8A622B120F6721")
POINT = unhexlify(
    "0460FED4BA255A9D31C961EB74C6356D68C049B8923B61FA6CE669622E60F29FB6"
    "7903FE1008B8BC99A41AE9E95628BC64F2F1B20C2D7E9F5177A3C294D4462299"
)
SIGNED = (
    (
        b"sample",
        0xEFD48B2AACB6A8FD1140DD9CD45E81D69D2C877B56AAF991C34D0EA84EAF3716,
        0xF7CB1C942D657C41D436C7A1B6E29F65F3E900DBB9AFF4064DC4AB2F843ACDA8,
    ),
    (
        b"test",
        0xF1ABB023518351CD71D881567B1EA663ED3EFCF6C5132B354F28D3B0B7D38367,
        0x019F4113742A2B14BD25926B49C649155F267E60D3814B4C0CC84250E46F0083,
    ),
)
# NIST CAVP, KAS_ECC_CDH_PrimitiveTest, P-256, count 0: peer, own secret, own point, Z.
CAVP_ECDH = (
    "04700c48f77f56584c5cc632ca65640db91b6bacce3a4df6b42ce7cc838833d287"
    "db71e509e3fd9b060ddb20ba5c51dcc5948d46fbf640dfe0441782cab85fa4ac",
    "7d7dc5f71eb29ddaf80d6214632eeae03d9058af1fb6d22ed80badb62bc1a534",
    "04ead218590119e8876b29146ff89ca61770c4edbbf97d38ce385ed281d8a6b230"
    "28af61281fd35e2fa7002523acc85a429cb06ee6648325389f59edfce1405141",
    "46fc62106420ff012e54a434fbdd2d25ccc5852060561e68040dd7778997bd7b",
)


def digest_of(text):
    return hashlib.sha256(text).digest()


def secret_of(scalar):
    return scalar.to_bytes(32, "big")


def test_signatures_of_rfc_6979():
    assert p256.public_key(SECRET) == POINT
    for text, r, s in SIGNED:
        assert p256.sign(SECRET, digest_of(text), b"") == (r, s)
        assert p256.verify(POINT, digest_of(text), r, s)


def test_high_s_is_as_good_as_low_s():
    for text, r, s in SIGNED:
        assert p256.verify(POINT, digest_of(text), r, N - s)


def test_signatures_differ_and_verify_where_the_nonce_is_hedged():
    digest = digest_of(b"sample")
    one, other = p256.sign(SECRET, digest), p256.sign(SECRET, digest)
    assert one != other and one != SIGNED[0][1:]
    assert p256.verify(POINT, digest, one[0], one[1])
    assert p256.verify(memoryview(POINT), bytearray(digest), other[0], other[1])


def test_signature_of_another_text_or_key_is_refused():
    _, r, s = SIGNED[0]
    digest = digest_of(b"sample")
    for wrong in (digest_of(b"sampla"), bytes(32), b"\xff" * 32, digest[1:] + digest[:1]):
        assert not p256.verify(POINT, wrong, r, s)
    assert not p256.verify(BASE, digest, r, s)
    assert not p256.verify(
        POINT[:33] + secret_of(P - int.from_bytes(POINT[33:], "big")), digest, r, s
    )
    assert not p256.verify(POINT, digest, s, r)
    for bit in range(0, 256, 37):
        assert not p256.verify(POINT, digest, r ^ 1 << bit, s)
        assert not p256.verify(POINT, digest, r, s ^ 1 << bit)


def test_r_and_s_have_to_be_from_1_to_n_less_1():
    _, r, s = SIGNED[0]
    digest = digest_of(b"sample")
    for bad in (0, N, N + 1, -1, -r, P, 1 << 256, 1 << 4096, r + N):
        assert not p256.verify(POINT, digest, bad, s), bad
    for bad in (0, N, N + 1, -1, -s, P, 1 << 256, 1 << 4096, s + N):
        assert not p256.verify(POINT, digest, r, bad), bad
    for value in (1, N - 1):
        assert not p256.verify(POINT, digest, value, value)


def test_only_the_first_32_bytes_of_a_longer_hash_count():
    text, r, s = SIGNED[0]
    assert p256.verify(POINT, digest_of(text) + bytes(16), r, s)
    assert p256.sign(SECRET, digest_of(text) + b"\x55" * 16, b"") == (r, s)


def test_what_is_no_point_of_the_curve_is_refused():
    _, r, s = SIGNED[0]
    digest = digest_of(b"sample")
    x = int.from_bytes(POINT[1:33], "big")
    bad = [
        b"",
        b"\0",  # infinity in SEC 1
        bytes(65),
        b"\x04" + bytes(64),
        POINT[:64],
        POINT + b"\0",
        b"\x02" + POINT[1:33],  # compressed
        b"\x03" + POINT[1:33],
        b"\x05" + POINT[1:],
        b"\x06" + POINT[1:],  # hybrid
        b"\x07" + POINT[1:],
        POINT[:64] + bytes((POINT[64] ^ 1,)),
        POINT[:1] + POINT[33:] + POINT[1:33],
        b"\x04" + b"\xff" * 64,
        b"\x04" + secret_of(P) + POINT[33:],
        b"\x04" + POINT[1:33] + secret_of(P),
        b"\x04" + secret_of((x + 1) % P) + POINT[33:],
    ]
    # On y^2 = x^3 - 3 x, whose b is 0: the point at which invalid-curve attacks begin.
    bad.append(b"\x04" + bytes(32) + bytes(32))
    for point in bad:
        assert not p256.verify(point, digest, r, s), point
        assert p256.shared_secret(SECRET, point) is None, point


def test_coordinate_not_reduced_is_refused():
    # x = 5 is on the curve (SEC 1 decompression by `cryptography`); x = P + 5 is the same.
    y = unhexlify("459243b9aa581806fe913bce99817ade11ca503c64d9a3c533415c083248fbcc")
    assert p256.shared_secret(SECRET, b"\x04" + secret_of(5) + y)
    assert p256.shared_secret(SECRET, b"\x04" + secret_of(P + 5) + y) is None


def test_verification_goes_through_infinity_and_doubling():
    # With Q = G or -G, the multiples of both meet each other within the joint product.
    # s = 1, digest e: R = (e + r d) G, valid if its x is r; d = 1 and d = -1.
    for point, scalar in ((BASE, 1), (NEGATIVE_BASE, N - 1)):
        for text in (b"sample", b"test", b"one more"):
            digest = digest_of(text)
            r, s = p256.sign(secret_of(scalar), digest)
            assert p256.verify(point, digest, r, s)
            assert not p256.verify(point, digest_of(text + b"!"), r, s)
    # e = r with d = -1: the sum is infinity.
    for r in (1, 5, N - 1):
        assert not p256.verify(NEGATIVE_BASE, secret_of(r), r, 1)
        assert not p256.verify(NEGATIVE_BASE, secret_of(r), r, N - 2)


def test_hash_of_zero_verifies():
    # e = 0 or n, so the base point takes no part.
    for digest in (bytes(32), secret_of(N)):
        r, s = p256.sign(SECRET, digest, b"")
        assert p256.verify(POINT, digest, r, s)
        assert p256.verify(POINT, bytes(32), r, s)


def test_shared_secret_of_cavp():
    peer, secret, point, shared = (unhexlify(word) for word in CAVP_ECDH)
    assert p256.public_key(secret) == point
    assert p256.shared_secret(secret, peer) == shared
    assert p256.shared_secret(secret, memoryview(peer)) == shared


def test_shared_secret_at_the_ends_of_the_range():
    # Multiples of the base point: SEC 2's own, and those of the test files of RFC 6979.
    for scalar in (1, 2, 3, 8, 15, 16, 17, 1 << 255, N - 1, N - 2, N - 17, N >> 1):
        secret = secret_of(scalar)
        assert p256.shared_secret(secret, BASE) == p256.public_key(secret)[1:33], scalar
    assert p256.public_key(secret_of(1)) == BASE
    assert p256.public_key(secret_of(N - 1)) == NEGATIVE_BASE
    for scalar in (0, N, N + 1, (1 << 256) - 1):
        assert p256.shared_secret(secret_of(scalar), POINT) is None


def test_both_sides_come_to_the_same_secret():
    one, other = p256.new_secret(), p256.new_secret()
    assert one != other and 0 < int.from_bytes(one, "big") < N and len(one) == 32
    assert p256.shared_secret(one, p256.public_key(other)) == p256.shared_secret(
        other, p256.public_key(one)
    )
