"""Cryptographic primitives on MicroPython's own integers, `hashlib` and `cryptolib`."""
