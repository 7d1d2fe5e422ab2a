"""keyfob.pki.signature: P-256 by RFC 6979's vectors, and what is no signature.

Every other algorithm is met in the chains of `test_x509_vectors`.
"""

import hashlib

from device_support import code_of

from keyfob.pki import private_key
from keyfob.pki.signature import digest_for, hash_name_of, verify_signature


def octets(text):
    text = text.replace(" ", "")
    return bytes(int(text[at : at + 2], 16) for at in range(0, len(text), 2))


# RFC 6979 appendix A.2.5: the key, and ECDSA over "sample" with SHA-256 and SHA-384.
SECRET = octets("C9AFA9D845BA75166B5C215767B1D6934E50C3DB36E89B127B8A622B120F6721")
POINT = octets(
    "04 60FED4BA255A9D31C961EB74C6356D68C049B8923B61FA6CE669622E60F29FB6"
    "7903FE1008B8BC99A41AE9E95628BC64F2F1B20C2D7E9F5177A3C294D4462299"
)
R = octets("EFD48B2AACB6A8FD1140DD9CD45E81D69D2C877B56AAF991C34D0EA84EAF3716")
S = octets("F7CB1C942D657C41D436C7A1B6E29F65F3E900DBB9AFF4064DC4AB2F843ACDA8")
R384 = octets("0EAFEA039B20E9B42309FB1D89E213057CBF973DC0CFC8F129EDDDC800EF7719")
S384 = octets("4861F0491E6998B9455193E34E7B0D284DDD7149A74B95B9261F13ABDE940954")
SIGNATURE = b"\x30\x46\x02\x21\0" + R + b"\x02\x21\0" + S
DIGEST = hashlib.sha256(b"sample").digest()
# RFC 5915 with all its fields, and the same key in PKCS#8 as RFC 5958 has it.
SEC1 = (
    b"\x30\x77\x02\x01\x01\x04\x20" + SECRET
    + octets("a00a06082a8648ce3d030107 a144034200") + POINT
)  # fmt: skip
PKCS8 = (
    octets("308187020100301306072a8648ce3d020106082a8648ce3d030107046d306b0201010420")
    + SECRET + octets("a144034200") + POINT
)  # fmt: skip


def test_signatures_of_rfc_6979_are_verified():
    assert verify_signature(0x0403, POINT, DIGEST, SIGNATURE)
    assert verify_signature(0x0403, POINT, DIGEST, memoryview(SIGNATURE))
    signature = b"\x30\x44\x02\x20" + R384 + b"\x02\x20" + S384
    assert verify_signature(0x0503, POINT, digest_for(0x0503, b"sample"), signature)


def test_a_signature_is_of_one_digest_by_one_key():
    other = POINT[:64] + bytes((POINT[64] ^ 1,))
    assert not verify_signature(0x0403, POINT, hashlib.sha256(b"test").digest(), SIGNATURE)
    assert not verify_signature(0x0403, other, DIGEST, SIGNATURE)  # not on the curve
    assert not verify_signature(0x0403, b"", DIGEST, SIGNATURE)


def test_the_encoding_of_a_signature_is_der():
    for body in (
        b"",
        b"\x30\x00",
        SIGNATURE + b"\0",
        SIGNATURE[:-1],
        b"\x31" + SIGNATURE[1:],
        b"\x30\x81\x46" + SIGNATURE[2:],
        b"\x30\x44\x02\x20" + R + b"\x02\x20" + S,  # negative
        b"\x30\x47\x02\x22\0\0" + R + b"\x02\x21\0" + S,  # a zero too many
        b"\x30\x49" + SIGNATURE[2:] + b"\x02\x01\x01",
        b"\x30\x06\x02\x01\x00\x02\x01\x00",
        b"\x30\x26\x02\x21\0" + R + b"\x02\x01\x00",
        b"\x30\x66\x02\x41\x01" + bytes(64) + b"\x02\x21\0" + S,  # longer than any curve's
    ):
        assert not verify_signature(0x0403, POINT, DIGEST, body), body


def test_scheme_key_and_digest_have_to_fit():
    for scheme in (0, 0x0203, 0x0603, 0x0503, 0x0401, 0x0804, 0x0807, 0x10403):
        assert not verify_signature(scheme, POINT, DIGEST, SIGNATURE), scheme
    rsa = (b"\xff" * 256, 65537)
    for scheme in (0x0403, 0x0401, 0x0804, 0x0501, 0x0805):
        assert not verify_signature(scheme, rsa, DIGEST, SIGNATURE), scheme
        assert not verify_signature(scheme, rsa, DIGEST, bytes(256)), scheme


def test_schemes_have_their_hash():
    assert hash_name_of(0x0403) == hash_name_of(0x0401) == hash_name_of(0x0804) == "sha256"
    assert hash_name_of(0x0503) == hash_name_of(0x0501) == hash_name_of(0x0805) == "sha384"
    assert hash_name_of(0x0806) == hash_name_of(0x0201) == ""
    assert digest_for(0x0804, memoryview(b"sample")) == DIGEST


def test_a_key_signs_what_its_point_verifies():
    for der in (SEC1, PKCS8, memoryview(SEC1)):
        key = private_key.load(der)
        assert key.kind == "p256"
        assert verify_signature(0x0403, POINT, DIGEST, key.sign(0x0403, DIGEST))


def test_what_is_no_key_is_refused():
    for der in (
        b"",
        SEC1[:-1],
        SEC1 + b"\0",
        SEC1.replace(b"\x02\x01\x01", b"\x02\x01\x00"),  # of another version
        SEC1.replace(SECRET, bytes(32)),
        SEC1.replace(SECRET, b"\xff" * 32),
        PKCS8.replace(octets("2a8648ce3d030107"), octets("2a8648ce3d030106")),  # another curve
        PKCS8.replace(octets("2a8648ce3d0201"), octets("2a8648ce3d0202")),
        b"\x30\x25\x02\x01\x01\x04\x20" + SECRET,  # of no curve
        b"\x30\x24\x02\x01\x01\x04\x1f" + SECRET[1:],
    ):
        assert code_of(private_key.load, der) == "tls.bad-key", der
    for end in range(len(PKCS8)):
        assert code_of(private_key.load, PKCS8[:end]) == "tls.bad-key"
