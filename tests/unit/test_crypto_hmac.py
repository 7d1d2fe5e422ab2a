"""keyfob.crypto.hmac and hkdf: RFC 4231, RFC 5869, and the IETF TLS list's vector for the PRF."""

from binascii import unhexlify

from device_support import HERE  # noqa: F401 - puts the firmware on the path

from keyfob.crypto.hkdf import hkdf_expand, hkdf_extract
from keyfob.crypto.hmac import equal, hmac_sha256, prf

# RFC 4231 sections 4.2 to 4.8: key, data, HMAC-SHA-256 (that of 4.6 is truncated).
RFC_4231 = (
    (
        b"\x0b" * 20,
        b"Hi There",
        "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7",
    ),
    (
        b"Jefe",
        b"what do ya want for nothing?",
        "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
    ),
    (
        b"\xaa" * 20,
        b"\xdd" * 50,
        "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe",
    ),
    (
        bytes(range(1, 26)),
        b"\xcd" * 50,
        "82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b",
    ),
    (b"\x0c" * 20, b"Test With Truncation", "a3b6167473100ee06e0c796c2955552b"),
    (
        b"\xaa" * 131,
        b"Test Using Larger Than Block-Size Key - Hash Key First",
        "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
    ),
    (
        b"\xaa" * 131,
        b"This is a test using a larger than block-size key and a larger than block-size "
        b"data. The key needs to be hashed before being used by the HMAC algorithm.",
        "9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2",
    ),
)
# RFC 5869 appendix A.1 to A.3: secret, salt, info, size, PRK, output.
RFC_5869 = (
    (
        b"\x0b" * 22,
        bytes(range(13)),
        bytes(range(0xF0, 0xFA)),
        42,
        "077709362c2e32df0ddc3f0dc47bba6390b6c73bb50f9c3122ec844ad7c2b3e5",
        "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865",
    ),
    (
        bytes(range(0x50)),
        bytes(range(0x60, 0xB0)),
        bytes(range(0xB0, 0x100)),
        82,
        "06a6b88c5853361a06104c9ceb35b45cef760014904671014a193f40c15fc244",
        "b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c"
        "59045a99cac7827271cb41c65e590e09da3275600c2f09b8367793a9aca3db71"
        "cc30c58179ec3e87c14c01d5c1f3434f1d87",
    ),
    (
        b"\x0b" * 22,
        b"",
        b"",
        42,
        "19ef24a32c717b167f33a91d6f648bdf96596776afdb6377ac434c1c293ccb04",
        "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8",
    ),
)


def test_hmac_of_rfc_4231():
    for key, data, want in RFC_4231:
        want = unhexlify(want)
        assert hmac_sha256(key, data)[: len(want)] == want


def test_parts_are_hashed_as_one_and_from_any_buffer():
    key, data, want = RFC_4231[1]
    for cut in range(len(data) + 1):
        parts = (bytearray(data[:cut]), b"", memoryview(data)[cut:])
        assert hmac_sha256(bytearray(key), *parts) == unhexlify(want)
    assert hmac_sha256(memoryview(key), data) == unhexlify(want)


def test_key_of_exactly_one_block_is_not_hashed():
    # HMAC(k) = HMAC(k + zeros) up to 64 bytes, and HMAC(sha256(k)) only above.
    assert hmac_sha256(b"k" * 63, b"x") == hmac_sha256(b"k" * 63 + b"\0", b"x")
    assert hmac_sha256(b"k" * 64, b"x") != hmac_sha256(b"k" * 64 + b"\0", b"x")


def test_hkdf_of_rfc_5869():
    for secret, salt, info, size, prk, out in RFC_5869:
        assert hkdf_extract(salt, secret) == unhexlify(prk)
        assert hkdf_expand(unhexlify(prk), info, size) == unhexlify(out)
        assert hkdf_expand(unhexlify(prk), info, 5) == unhexlify(out)[:5]


def test_prf_of_the_tls_working_group():
    # Posted to the IETF TLS list for P_SHA256, and used by OpenSSL and GnuTLS since.
    out = prf(
        unhexlify("9bbe436ba940f017b17652849a71db35"),
        b"test label",
        unhexlify("a0ba9f936cda311827a6f796ffd5198c"),
        100,
    )
    assert out == unhexlify(
        "e3f229ba727be17b8d122620557cd453c2aab21d07c3d495329b52d4e61edb5a"
        "6b301791e90d35c9c9a46b4e14baf9af0fa022f7077def17abfd3797c0564bab"
        "4fbc91666e9def9b97fce34f796789baa48082d122ee42c5a72e5a5110fff701"
        "87347b66"
    )


def test_equal_sees_each_byte():
    one = bytes(range(32))
    assert equal(one, bytearray(one)) and equal(b"", b"")
    for index in range(32):
        other = bytearray(one)
        other[index] ^= 1 << (index & 7)
        assert not equal(one, other) and not equal(memoryview(other), one)
    assert not equal(one, one[:31]) and not equal(b"", one)
