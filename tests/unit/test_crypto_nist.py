"""keyfob.crypto by NIST's own vectors (``tests/vectors/nist.txt``), and the port's AES and
SHA-256, on which all of it stands, by FIPS 197, SP 800-38A and FIPS 180-4.

HMAC, HKDF, GCM, SHA-384 and X25519 have the vectors of their documents in their own tests.
"""

import hashlib
from binascii import unhexlify

import cryptolib
from device_support import VECTORS

from keyfob.crypto import p256
from keyfob.crypto.rsa import public_power, verify_pkcs1
from keyfob.crypto.rsa_pss import encode, verify_pss
from keyfob.crypto.rsa_sign import sign_pkcs1
from keyfob.crypto.sha384 import sha384
from keyfob.pki.signature import verify_signature

FILE = VECTORS + "/nist.txt"


def vectors(kind):
    """The fields of each line that begins so."""
    with open(FILE) as file:
        for line in file:
            fields = line.split()
            if fields[0] == kind:
                yield fields[1:]


def digest_of(name, message):
    message = unhexlify(message)
    return sha384(message).digest() if name == "sha384" else hashlib.sha256(message).digest()


def check_verifies(kind, verify):
    good = bad = 0
    for name, modulus, exponent, message, signature, result in vectors(kind):
        taken = verify(
            unhexlify(modulus), int(exponent, 16), name, digest_of(name, message),
            unhexlify(signature),
        )  # fmt: skip
        assert taken == (result == "P"), (kind, name, signature)
        good += taken
        bad += not taken
    return good, bad


def test_pkcs1_signatures_are_verified_or_refused():
    good, bad = check_verifies("sigver15", verify_pkcs1)
    assert good >= 4 and good + bad == 24


def test_pss_signatures_are_verified_or_refused():
    good, bad = check_verifies("sigverpss", verify_pss)
    assert good >= 2 and good + bad == 12


def test_pkcs1_signatures_are_made():
    count = 0
    for name, *numbers, message, signature in vectors("siggen15"):
        key = tuple(int(number, 16) for number in numbers)
        assert sign_pkcs1(key, name, digest_of(name, message)) == unhexlify(signature)
        count += 1
    assert count == 4


def test_pss_is_encoded():
    count = 0
    for name, modulus, exponent, message, salt, signature in vectors("siggenpss"):
        digest = digest_of(name, message)
        encoded = encode(3072, name, digest, unhexlify(salt))
        modulus, signature = unhexlify(modulus), unhexlify(signature)
        assert encoded == public_power(modulus, int(exponent, 16), signature)
        assert verify_pss(modulus, int(exponent, 16), name, digest, signature, len(salt) // 2)
        count += 1
    assert count == 4


def test_ecdsa_signatures_of_both_curves_are_verified_or_refused():
    counts = {}
    for name, point, message, signature, result in vectors("ecdsa"):
        scheme = 0x0503 if name == "sha384" else 0x0403
        digest = digest_of(name, message)
        taken = verify_signature(scheme, unhexlify(point), digest, unhexlify(signature))
        assert taken == (result == "P"), signature
        counts[len(point), name, taken] = counts.get((len(point), name, taken), 0) + 1
    assert len(counts) == 8 and sum(counts.values()) == 60


def test_shared_secrets_of_p256():
    count = 0
    for peer, secret, point, shared in vectors("ecdh"):
        secret = unhexlify(secret)
        assert p256.public_key(secret) == unhexlify(point)
        assert p256.shared_secret(secret, unhexlify(peer)) == unhexlify(shared)
        count += 1
    assert count == 25


def test_points_that_are_not_on_p256_are_refused():
    count = 0
    for (peer,) in vectors("badpoint"):
        assert p256.shared_secret(bytes(31) + b"\5", unhexlify(peer)) is None
        count += 1
    assert count == 12


def test_aes_of_the_port():
    # FIPS 197 appendix C.1.
    aes = cryptolib.aes(bytes(range(16)), 1)
    block = unhexlify("00112233445566778899aabbccddeeff")
    assert aes.encrypt(block) == unhexlify("69c4e0d86a7b0430d8cdb78070b4c55a")
    # SP 800-38A sections F.2.1 and F.2.2.
    key = unhexlify("2b7e151628aed2a6abf7158809cf4f3c")
    plain = unhexlify(
        "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51"
        "30c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710"
    )
    cipher = unhexlify(
        "7649abac8119b246cee98e9b12e9197d5086cb9b507219ee95db113a917678b2"
        "73bed6b8e3c1743b7116e69e222295163ff1caa1681fac09120eca307586e1a7"
    )
    assert cryptolib.aes(key, 2, bytes(range(16))).encrypt(plain) == cipher
    buffer = bytearray(cipher)
    cryptolib.aes(key, 2, bytes(range(16))).decrypt(buffer, buffer)  # in place, as CBC has it
    assert buffer == plain


def test_sha256_of_the_port():
    # FIPS 180-4's examples of NIST: one block, two blocks, and a million times "a".
    two = b"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"
    for text, times, digest in (
        (b"abc", 1, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
        (two, 1, "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"),
        (b"a" * 1000, 1000, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"),
    ):
        made = hashlib.sha256()
        for _ in range(times):
            made.update(text)
        assert made.digest() == unhexlify(digest)
