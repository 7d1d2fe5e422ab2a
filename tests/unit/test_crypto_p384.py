"""keyfob.crypto.p384: RFC 6979 A.2.6, and what has to be refused."""

import hashlib
from binascii import unhexlify

from device_support import HERE  # noqa: F401 - puts the firmware on the path

from keyfob.crypto import p384
from keyfob.crypto.sha384 import sha384

P = (1 << 384) - (1 << 128) - (1 << 96) + (1 << 32) - 1
N = int(
    "FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF"
    "C7634D81F4372DDF581A0DB248B0A77AECEC196ACCC52973",
    16,
)
# SEC 2 section 2.5.1: the base point.
BASE = unhexlify(
    "04AA87CA22BE8B05378EB1C71EF320AD746E1D3B628BA79B98"
    "59F741E082542A385502F25DBF55296C3A545E3872760AB7"
    "3617DE4A96262C6F5D9E98BF9292DC29F8F41DBD289A147C"
    "E9DA3113B5F0B8C00A60B1CE1D7E819D7A431D7C90EA0E5F"
)
NEGATIVE_BASE = BASE[:49] + (P - int.from_bytes(BASE[49:], "big")).to_bytes(48, "big")
POINT = unhexlify(
    "04EC3A4E415B4E19A4568618029F427FA5DA9A8BC4AE92E02E"
    "06AAE5286B300C64DEF8F0EA9055866064A254515480BC13"
    "8015D9B72D7D57244EA8EF9AC0C621896708A59367F9DFB9"
    "F54CA84B3F1C9DB1288B231C3AE0D4FE7344FD2533264720"
)
R = int(
    "94EDBB92A5ECB8AAD4736E56C691916B3F88140666CE9FA7"
    "3D64C4EA95AD133C81A648152E44ACF96E36DD1E80FABE46",
    16,
)
S = int(
    "99EF4AEB15F178CEA1FE40DB2603138F130E740A19624526"
    "203B6351D0A3A94FA329C145786E679E7B82C71A38628AC8",
    16,
)
DIGEST = sha384(b"sample").digest()


def test_signatures_of_rfc_6979():
    assert p384.verify(POINT, DIGEST, R, S)
    assert p384.verify(memoryview(POINT), bytearray(DIGEST) + b"more", R, N - S)
    r = int(
        "21B13D1E013C7FA1392D03C5F99AF8B30C570C6F98D4EA8E"
        "354B63A21D3DAA33BDE1E888E63355D92FA2B3C36D8FB2CD",
        16,
    )
    s = int(
        "F3AA443FB107745BF4BD77CB3891674632068A10CA67E3D4"
        "5DB2266FA7D1FEEBEFDC63ECCD1AC42EC0CB8668A4FA0AB0",
        16,
    )
    assert p384.verify(POINT, hashlib.sha256(b"sample").digest(), r, s)


def test_any_change_is_refused():
    assert not p384.verify(POINT, DIGEST[1:] + DIGEST[:1], R, S)
    assert not p384.verify(POINT, DIGEST[:32], R, S)
    assert not p384.verify(BASE, DIGEST, R, S)
    assert not p384.verify(POINT, DIGEST, S, R)
    assert not p384.verify(POINT, DIGEST, R ^ 1 << 200, S)
    assert not p384.verify(POINT, DIGEST, R, S ^ 1)


def test_r_and_s_have_to_be_from_1_to_n_less_1():
    for bad in (0, N, N + 1, -1, P, 1 << 384, 1 << 4096, R + N, S + N):
        assert not p384.verify(POINT, DIGEST, bad, S), bad
        assert not p384.verify(POINT, DIGEST, R, bad), bad


def test_what_is_no_point_of_the_curve_is_refused():
    for bad in (
        b"",
        b"\0",
        bytes(97),
        POINT[:96],
        POINT + b"\0",
        b"\x02" + POINT[1:49],
        b"\x06" + POINT[1:],
        POINT[:96] + bytes((POINT[96] ^ 1,)),
        POINT[:1] + P.to_bytes(48, "big") + POINT[49:],
        POINT[:49] + b"\xff" * 48,
    ):
        assert not p384.verify(bad, DIGEST, R, S), bad


def test_infinity_is_no_signature():
    # e = r with the key of -1: u1 G + u2 Q is infinity.
    for r in (1, 7):
        assert not p384.verify(NEGATIVE_BASE, r.to_bytes(48, "big"), r, 1)
