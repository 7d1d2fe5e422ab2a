"""keyfob.crypto.rsa and rsa_pss: signatures by `cryptography`, and forgeries.

Padding that only a private key can bring about is in test_crypto_forgeries.py.
"""

import hashlib
from binascii import unhexlify

from device_support import HERE  # noqa: F401 - puts the firmware on the path

from keyfob.crypto.rsa import encode_pkcs1, modulus_bits, verify_pkcs1
from keyfob.crypto.rsa_encrypt import encrypt_pkcs1
from keyfob.crypto.rsa_pss import verify_pss
from keyfob.crypto.sha384 import sha384

# Public halves of two keys that `cryptography` made and forgot, and what it signed.
MODULUS = unhexlify(
    "c5b75e70d71d0a9a9b219a7fc4c548bdc07d4fc7e208c05cd6bc01695d3f46f08c950ab24976c38f26889cf1"
    "7c7b44e4a5bc94b57eddb33ed7c45518a009f912231ec11725bea0e795fe7e5d83b57452d91975bd97a81722"
    "9bbb355bd347df1b78fda70ca82f650e5120ae549af83dbfd3522e3886f04d51aaa39341234eac9f37da5ac8"
    "2501e63978e86e0d4b69a28661344a0b7d716c4111d202bf2efa8e6d6c3cd89e55c6216ff754f7d9399ceb05"
    "0b85b3636a2a85d864643de53bde51b2c574a3f2f7a8894ff7a1f2a446e7aa6a2404c48a8b46789dfbd0f6ba"
    "a3d109d82d51d62dc7e22c850743bd855eba8b09ccf9360552d0fda1a39d653f440841ef"
)
PKCS1_SHA256 = unhexlify(
    "77fb5a150f357902c86e7b14a2d07da581aeb355a303d5bc88e7e7db5799c160bd045b45f4d80c69aaee3cbc"
    "2399daa8e19acc17550f131de66d2ce80e769fea0db84e00fe29991fe3226e3ee163638e6556bba48cd899d5"
    "12c5dd122b4d337ca22321cd04d3e68f2dda5e8a3f8d5e5cd9e963739698bcd3ee7b545eb7258d9d0d9efea4"
    "61ebc89783e8f63c45f67c4ba1003dac1d53f743b87aa3dd3182a8e382003d440f756605638d9f6f6501ab8a"
    "b96ab3b84379284dc2cbb43128fb0f97f44f8c99226c29c8452d7913b8b266dec2c25f42624ecad8596a3d90"
    "0cf8c16e770d58f15c788eed9e144526adf656690c62810f5fdef4bd9517758c89502fb6"
)
PKCS1_SHA384 = unhexlify(
    "c1c67e7e341b5c4341e1bde49fb3ac8df743b7372d010ec9704f1cc8202340362b5c0c2b7907a6c1a40e8f29"
    "d2754f34d1a67062b9413d47c614539e8499de3411cb5e432f472a59f5a7b4d888928a6984ef64272ec7620b"
    "65947498b53daf23151a632fcb7cd497cb0140107e3fe14273e269a6482b5fcaa91c388815cb37d02ba2ef81"
    "5686eb9edd5da2a1a9dd65381e2a3a53a9c9469b581551f69a4b000cfc0b6c776ba4d9c5290e317514f24c6e"
    "817ea0bc6c887375ac58bbbebb9235a47605740fe50007035bf32d324f8e50742b5dfd776daeebc026a383ca"
    "c5d2bdb51c934c4c65421ae79438cb04738ea28119003973e1b8a04135e4f482cab72224"
)
PSS_SHA256 = unhexlify(
    "4533fecae7da4d1cc5c5f2dbc4e8c4e962aa8bcf7655a9a70c036600ad21f21f0ebb1503f2792baf678ef3ad"
    "73694b460b1ee42d011c13e7f3ffb7b8d66ff5301a5928958c6aa8f686eea13dc2ec0d3a1ac90d652e076e6e"
    "4d935fd18656e72fd18d7f8f9981ac4dfc90a1b3fddf5ab0d2134299d06849b732402d8340c029fe086b7f50"
    "743de44e7b193e09d26bb2fd707f4ef0fcd0f72e350426183af7cda9bf546b1c43e80216a8c1cdd14795394f"
    "00ea0ea2b3c5c18f3eeba5af70495738d987e232c2b4e3b64da31614fd5efb37746fd04112775ab92545039a"
    "81f630941e25ec2318a0e8ed11357adfd4a2b153bb87b64448b8813bbd737c712e0cafa6"
)
PSS_SHA384 = unhexlify(
    "646681150145a6d841449be12935a310e37a3bc45b4d3e719c85495b50203fed0f513fb0649a7c859074ede1"
    "9b6abb6369cad685ec62ca1d476d21c990c7074cf77996faed84633d4bd30e1e37d4afa4ec3b4c0fa5742ee3"
    "3f424a347d19111dfa40438b8b2822df1e3224762d789d913150b789b0265297f14d05b288cfc53e3b5f1046"
    "71466e931935699926078ddcc8e994b791070839cf36eb9691c47faa5a6e9a187a46c2e532ac180276e1c80d"
    "4859f7d40935fac211fffb2d33ec1b9edf26afdfe0a3e5dc1e035fa685197eee5d0a636e98cdcef96a726889"
    "e6c6f541c3888d703ffdee8c31ddb457bd0151bed51539d7788d3df51e0395ba30adbbd2"
)
PSS_NO_SALT = unhexlify(
    "3df08ef7653ce96cb5a0887ba5a11efd7ac2e72550a17910418ad85be645b661762243a531db785da988c2ae"
    "00eaeaf8b428f63b43a27b402bf453e59285067cf477af2a29828f5e056dce860bcdc310eff5537fa5b2c6b0"
    "4a40fa503ab577cdc00773f63fbc20481c506662e32e5dfd75369de1c185dcbff4fb9e08c2b6299b599ac221"
    "3faae6e128ae0467c8c33ed3914a75a91f6e358f3c7547a8603415d1d76f80a20d928ee38cdcd7169f211199"
    "969a7197db5c5703b4aab65071698e3680bf39c4981a38a01d25bc0c20e5c2c90efdaa15ad3a3c2d3dc9aeb6"
    "b4c0fa51ed1dffe3a03c76dd41f36d1b103716a397b2d771c511b0b55bb578786ec62302"
)
# 2,057 bits, so that PSS encodes into a byte less than the modulus has; exponent 3.
MODULUS_3 = unhexlify(
    "01a8838b3d42d51d50a2ca5efb8edbd21cb30fe55b2dbb65538bc54c0585e9bc51e28eee515ba8dc7acd0a0a"
    "6b5da32b57a34f9b6cd2549cda282d3f2adbfeba1ff9f10777e219ea171281e2c73da19ed26b936ed11b3b48"
    "8f2c4c140d2369defc9ff0777650fe0d36a767d3643389e9da787dacde3f7cb0382b0c9e919e55f1a8d341da"
    "0d8943348b724a5097a98cf41b85b99876bf50cafe1d72e416354fc9c221ff735bf26d1fe8cdf30816d5d338"
    "298590d5e03cf8a1c7a8b7ae31617756fdd281d5ff338548c0a78c0778cca8ed5dec949356c24c34a7047d25"
    "f8373700590820705460c674142dfb50d86c6e7a76cbc1511f7c95e83caef4bc898145d29479"
)
PKCS1_3 = unhexlify(
    "009a6dd11a5db6f3174929405ad1940fde9a83d72ffc1ca5d0fb764eb5034848d9f4f56da0609cef431dbfba"
    "54e0fc48977ea36ecdbe5a25b57ac01e58ab78db6e9ea2d1f604479c4b40cf487d8489c4c289a808524e4c57"
    "44f7b9a3c575de86c38ffca793079c0997fbc8c3e6f0879f1f9518ea61bff975680bda3f96ea5eec3efb0381"
    "918ac2c049f979f486848d158fab95c4ce999e228bc9433ad4994b555d08197dad67b3f04afea6a3f8d60ae8"
    "14088055f0dc768e3106684cbf2ac7db5c25981d198bcf8504fd65ef5d926e4d146ab45704db65da86d478da"
    "0507fa21a7169b66adf937b94181ed5e9bdd720a9949cfdd436963f7a72c15169ad702c6e1f8"
)
PSS_3 = unhexlify(
    "010190b63e4cabf0cdf59163843482bb58317fbc338d5cb66fbe1e294df4d088ccdec8516c822c88cb7efd67"
    "9efdd15437667671c26116d8a9b30070032fb03d01c426c648a2428ca34548ca070fb3db014bdc1a61438eb2"
    "56ef6bd9bdd88f9a686f0688ec9e27dfea2bfc22b79986aee36bbd815975f66afba3fa75255243f5e4446557"
    "58eac4f701b931e6dde482f2bfad83031f54ec3a997a5f8e079c7f014f13ba4908e57e1af6855f134645590c"
    "5f233e5274a62454de939b5d213e4b498969869fe247c5d2d59b23101c5ed1f2142c849f7262143af3e54e79"
    "5581d4c707f1344f4271c9665e7460f2782d77f521cac990649f1ec66dee2623e594e87cb89b"
)
F4 = 65537
SHA256 = hashlib.sha256(b"sample").digest()
SHA384 = sha384(b"sample").digest()
# (check, modulus, exponent, hash, digest, signature)
GOOD = (
    (verify_pkcs1, MODULUS, F4, "sha256", SHA256, PKCS1_SHA256),
    (verify_pkcs1, MODULUS, F4, "sha384", SHA384, PKCS1_SHA384),
    (verify_pkcs1, MODULUS_3, 3, "sha256", SHA256, PKCS1_3),
    (verify_pss, MODULUS, F4, "sha256", SHA256, PSS_SHA256),
    (verify_pss, MODULUS, F4, "sha384", SHA384, PSS_SHA384),
    (verify_pss, MODULUS_3, 3, "sha256", SHA256, PSS_3),
)


def cube_root_above(number):
    """The smallest number whose cube is not below."""
    low, high = 0, 1
    while high**3 < number:
        high <<= 1
    while low < high:
        middle = (low + high) >> 1
        if middle**3 < number:
            low = middle + 1
        else:
            high = middle
    return low


def test_signatures_of_another_implementation_are_good():
    for check, modulus, exponent, name, digest, signature in GOOD:
        assert check(modulus, exponent, name, digest, signature)
        # As the DER integer has it, and from any buffer.
        view = memoryview(signature)
        assert check(b"\0" + modulus, exponent, name, bytearray(digest), view)


def test_any_change_is_refused():
    for check, modulus, exponent, name, digest, signature in GOOD:
        for index in (0, 1, 100, len(signature) - 1):
            bad = bytearray(signature)
            bad[index] ^= 1
            assert not check(modulus, exponent, name, digest, bad)
        bad = bytearray(digest)
        bad[7] ^= 64
        assert not check(modulus, exponent, name, bad, signature)
        bad = bytearray(modulus)
        bad[50] ^= 1
        assert not check(bad, exponent, name, digest, signature)
        assert not check(modulus, 17, name, digest, signature)


def test_pkcs1_and_pss_are_not_taken_for_each_other():
    assert not verify_pkcs1(MODULUS, F4, "sha256", SHA256, PSS_SHA256)
    assert not verify_pss(MODULUS, F4, "sha256", SHA256, PKCS1_SHA256)


def test_signature_has_the_length_of_the_modulus_and_is_below_it():
    for check, modulus, exponent, name, digest, signature in GOOD:
        for bad in (b"", signature[1:], signature[:-1], b"\0" + signature, signature + b"\0"):
            assert not check(modulus, exponent, name, digest, bad)
        for bad in (bytes(len(modulus)), bytes(len(modulus) - 1) + b"\1", modulus):
            assert not check(modulus, exponent, name, digest, bad)
        bad = (int.from_bytes(modulus, "big") - 1).to_bytes(len(modulus), "big")
        assert not check(modulus, exponent, name, digest, bad)


def test_same_residue_not_reduced_is_refused():
    found = 0
    for _, modulus, exponent, name, digest, signature in GOOD[3:]:
        number = int.from_bytes(signature, "big") + int.from_bytes(modulus, "big")
        if number >> (8 * len(modulus)) == 0:
            found += 1
            bad = number.to_bytes(len(modulus), "big")
            assert not verify_pss(modulus, exponent, name, digest, bad)
    assert found  # that of 2,057 bits leaves room in its first byte


def test_hash_and_name_have_to_agree():
    for check, modulus, exponent, name, digest, signature in GOOD:
        other = "sha384" if name == "sha256" else "sha256"
        for bad in (other, "sha1", "md5", "", "sha512"):
            assert not check(modulus, exponent, bad, digest, signature)
        for bad in (b"", digest[:-1], digest + b"\0"):
            assert not check(modulus, exponent, name, bad, signature)


def test_keys_out_of_bounds_are_refused_before_any_work():
    one = b"\0" * 255 + b"\1"
    for check, _, _, name, digest, _ in GOOD[:1] + GOOD[3:4]:
        for modulus in (
            b"",
            b"\0",
            b"\1",
            bytes(256),
            b"\x7f" + b"\xff" * 255,  # 2,047 bits
            b"\xff" * 513,
            b"\xff" * 5000,
            MODULUS[:-1] + b"\0",  # even
        ):
            assert not check(modulus, F4, name, digest, one)
            assert not check(modulus, F4, name, digest, bytes(len(modulus)))
        for exponent in (-1, 0, 1, 2, 4, 65536, (1 << 32) + 1, 1 << 2048):
            assert not check(MODULUS, exponent, name, digest, PKCS1_SHA256)


def test_cube_roots_of_a_padding_with_garbage_behind_are_refused():
    # Bleichenbacher at CRYPTO 2006: with e = 3, whoever skips what is behind the hash
    # takes the cube root of the wanted beginning for a signature.
    info = encode_pkcs1("sha256", SHA256, 62)  # as short a padding as is allowed
    for modulus in (MODULUS, MODULUS_3):
        size = len(modulus)
        begin = int.from_bytes(info + bytes(size - len(info)), "big")
        forged = cube_root_above(begin)
        cube = (forged**3).to_bytes(size, "big")
        assert cube[: len(info)] == info  # the forgery is one
        assert not verify_pkcs1(modulus, 3, "sha256", SHA256, forged.to_bytes(size, "big"))


def test_salt_of_another_length_is_refused():
    assert verify_pss(MODULUS, F4, "sha256", SHA256, PSS_NO_SALT, 0)
    for size in (-1, 1, 20, 32, 190, 222, 223, 10_000):
        assert not verify_pss(MODULUS, F4, "sha256", SHA256, PSS_NO_SALT, size)
    assert verify_pss(MODULUS, F4, "sha256", SHA256, PSS_SHA256, 32)
    for size in (0, 31, 33):
        assert not verify_pss(MODULUS, F4, "sha256", SHA256, PSS_SHA256, size)


def test_bits_of_a_number():
    for number, bits in ((b"", 0), (b"\0\0", 0), (b"\1", 1), (b"\0\x80", 8), (b"\2\0", 10)):
        assert modulus_bits(number) == bits
    assert (modulus_bits(MODULUS), modulus_bits(MODULUS_3)) == (2048, 2057)


def test_encryption_is_never_twice_the_same_and_knows_its_bounds():
    one, other = encrypt_pkcs1(MODULUS, F4, b"x" * 48), encrypt_pkcs1(MODULUS, F4, b"x" * 48)
    assert one != other and len(one) == len(other) == 256
    assert len(encrypt_pkcs1(MODULUS, F4, b"x" * 245)) == 256
    assert encrypt_pkcs1(MODULUS, F4, b"x" * 246) == b""
    assert encrypt_pkcs1(MODULUS, 1, b"x") == b""
    assert encrypt_pkcs1(MODULUS[:200], F4, b"x") == b""
