"""keyfob.crypto.rsa_sign, with a key of two primes that everybody knows."""

import hashlib
from binascii import unhexlify

from device_support import HERE, code_of  # noqa: F401 - puts the firmware on the path

from keyfob.crypto.modular import inverse
from keyfob.crypto.rsa import verify_pkcs1
from keyfob.crypto.rsa_pss import verify_pss
from keyfob.crypto.rsa_sign import sign_pkcs1, sign_pss
from keyfob.crypto.sha384 import sha384

# RFC 2409 section 6.2, and the fifteenth Mersenne prime.
P = int(
    "FFFFFFFFFFFFFFFFC90FDAA22168C234C4C6628B80DC1CD129024E088A67CC74"
    "020BBEA63B139B22514A08798E3404DDEF9519B3CD3A431B302B0A6DF25F1437"
    "4FE1356D6D51C245E485B576625E7EC6F44C42E9A637ED6B0BFF5CB6F406B7ED"
    "EE386BFB5A899FA5AE9F24117C4B1FE649286651ECE65381FFFFFFFFFFFFFFFF",
    16,
)
Q = (1 << 1279) - 1
E = 65537
KEY = (P * Q, E, P, Q, inverse(E, P - 1), inverse(E, Q - 1), inverse(Q, P))
MODULUS = KEY[0].to_bytes(288, "big")
SHA256 = hashlib.sha256(b"sample").digest()
SHA384 = sha384(b"sample").digest()
# By `cryptography`.
PKCS1_SHA256 = unhexlify(
    "58736836961a584965cf65c033d06b0e337ad3cc582449398c953bac65abf48b2ed769a3c5d8a200ce95022e"
    "5d8ccbe02163ea26932d98e9d0cc6ea7b35242cec7113e39365ade148f31f60364022d1944a8e497bd8ae9ad"
    "457f6795a51a59b8f73ec5bdfba3a4cfe7c3907d77971217d7311f31758451308fa3a87ae27fdc0f7b0183cd"
    "c689e90d10ce40d6bd1043ff889a7be93d075c0171e9905ac420b1cb8f5948f3ccf3351e590fc83b9f6e85d2"
    "bff30825162b5247e0d122ee48b280ffa58a1187a6753a6a9e4ee2c4b6ac861a5ef34089ecef7d985c9d0fdc"
    "2e60b60f16e7282131bf7f574298507b54bcaabd40fd6faa5681d9841b071e64fcc77f0420c68330d0b7c944"
    "c1f8905d25ca1407ad7ab23277c7c588867ab2a6872101e5"
)
PKCS1_SHA384 = unhexlify(
    "0eccf7af107e80d6d3d14dbac190ecca448e41cdcc30be16286889f9765ae509b8da7b8c33dbbace285c8235"
    "cd37d23cdc64f5f75b156e4d10fde7142b4e9cee99100503d956d54bf30984448c3892a13ca5d4f4b6f1afe6"
    "08bb6b472b46fb22ffbd9039d8fae3f79b52dbf1f41a7267c09e54ad3c697be2c024f2ea85a0f94015c78aa0"
    "c2e5c3c8f755c17cb67d43ce005d7dadeb784f65c568e3d8f8367abb96a5ab784445b8a65a1f1549aa6c1112"
    "acd3a79c537cff4a8e492a3851ad485c5ca3bf75c8e88f2f75d32b4880ccfafcc564d8133135fd15971a86a4"
    "59a9fa4a92099e773698faa2e7c7289006d4a91c112aa7b24416c883914add6cafa7b5495634c778395a1600"
    "8e8f1a03206c8e6983a290b764de522f9ccb1d2fd847f630"
)


def test_pkcs1_signatures_are_those_of_another_implementation():
    assert sign_pkcs1(KEY, "sha256", SHA256) == PKCS1_SHA256
    assert sign_pkcs1(KEY, "sha384", SHA384) == PKCS1_SHA384
    assert verify_pkcs1(MODULUS, E, "sha256", SHA256, PKCS1_SHA256)


def test_pss_signatures_verify_and_differ():
    for name, digest in (("sha256", SHA256), ("sha384", SHA384)):
        one, other = sign_pss(KEY, name, digest), sign_pss(KEY, name, digest)
        assert one != other
        assert verify_pss(MODULUS, E, name, digest, one)
        assert verify_pss(MODULUS, E, name, digest, other, len(digest))


def test_key_that_contradicts_itself_signs_nothing():
    # A signature that is right modulo one prime only would give the primes away.
    for index in range(2, 7):
        wrong = list(KEY)
        wrong[index] += 2
        assert code_of(sign_pkcs1, tuple(wrong), "sha256", SHA256) == "tls.bad-key"
    wrong = list(KEY)
    wrong[1] = 17
    assert code_of(sign_pss, tuple(wrong), "sha256", SHA256) == "tls.bad-key"
