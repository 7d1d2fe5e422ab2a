"""Cryptographic primitives on MicroPython's own integers, `hashlib` and `cryptolib`.

Ciphers: `gcm`, `cbc`. Keyed hashes: `hmac`, `hkdf`; `sha384`, which ports lack. Curves: `p256`
(`p256_make` a key to keep, `p256_sign`, both with `p256_base`; `p256_curve` verifies) and `p384`
over `weierstrass`; `x25519`. RSA: `rsa` verifies, `rsa_pss`, `rsa_sign`, `rsa_encrypt`. `modular`
is arithmetic that they share, `entropy` where random bytes are from. What their timing shows is
said in the README.
"""
