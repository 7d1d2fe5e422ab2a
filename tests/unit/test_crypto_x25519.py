"""keyfob.crypto.x25519: RFC 7748 section 5.2, and the points of small order."""

from binascii import unhexlify

from device_support import HERE  # noqa: F401 - puts the firmware on the path

from keyfob.crypto import x25519

# Scalar, u coordinate, product. The second coordinate has its highest bit set, which
# does not count.
PRODUCTS = (
    (
        "a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4",
        "e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c",
        "c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552",
    ),
    (
        "4b66e9d4d1b4673c5ad22691957d6af5c11b6421e0ea01d42ca4169e7918ba0d",
        "e5210f12786811d3f4b7959d0538ae2c31dbe7106fc03c3efc4cd549c715a493",
        "95cbde9476e8907d7aade45cb4b873f88b595a68799fa152e6f8f7647aac7957",
    ),
)
# The base point as scalar and coordinate, once.
ITERATED = unhexlify("422c8e7a6227d7bca1350b3e2bb7279f7897b87bb6854b783c60e80311ae3079")
BASE = b"\x09" + bytes(31)
P = (1 << 255) - 19
# Of order 1, 2, 4 and 8, reduced or not.
SMALL_ORDER = (
    0,
    1,
    0x00B8495F16056286FDB1329CEB8D09DA6AC49FF1FAE35616AEB8413B7C7AEBE0,
    0x57119FD0DD4E22D8868E1C58C45C44045BEF839C55B1D0B1248C50A3BC959C5F,
    P - 1,
    P,
    P + 1,
)


def test_products_of_rfc_7748():
    for scalar, u, product in PRODUCTS:
        assert x25519.shared_secret(unhexlify(scalar), unhexlify(u)) == unhexlify(product)
    assert x25519.shared_secret(BASE, bytearray(BASE)) == x25519.public_key(BASE) == ITERATED


def test_coordinate_that_is_not_reduced_counts_as_reduced():
    """RFC 7748 section 5: it must be accepted."""
    for u in (9 + P, 9 | 1 << 255, 9 + P | 1 << 255):
        assert x25519.shared_secret(BASE, u.to_bytes(32, "little")) == ITERATED


def test_points_of_small_order_and_other_lengths_are_refused():
    for u in SMALL_ORDER:
        for bit in (0, 1 << 255):
            point = (u | bit).to_bytes(32, "little")
            assert x25519.shared_secret(unhexlify(PRODUCTS[0][0]), point) is None, u
    for bad in (b"", BASE[:31], BASE + b"\0"):
        assert x25519.shared_secret(ITERATED, bad) is None


def test_both_sides_come_to_the_same_secret():
    one, other = bytes(range(32)), bytes(range(200, 232))
    assert x25519.shared_secret(one, x25519.public_key(other)) == x25519.shared_secret(
        other, x25519.public_key(one)
    )
