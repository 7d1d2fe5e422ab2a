"""AES-128-GCM in place, over the port's AES (`cryptolib`) in ECB mode.

NIST SP 800-38D with nonces of 12 bytes and tags of 16, as TLS uses it (RFC 5288, RFC
8446). One object a key; the caller sees to it that no nonce is used twice with a key.
Additional data and text are at most 65,000 bytes each; TLS records are 16 KB.

Time: AES is the port's own C, with tables in most ports. GHASH here looks up tables of
Python integers by the bytes of ciphertext and of its own running value, and Python's
integers take a little less time where leading digits are zero. So the time depends on
the hash key through cache and value lengths; no byte is skipped and no branch is taken
on a secret. The tag is compared in constant shape, and nothing is decrypted before it
fits.
"""

import cryptolib
from micropython import const

_ECB = const(1)
_CHUNK_BLOCKS = const(8)


class Gcm:
    """One direction's key: about 150 bytes of heap, and 2 KB more while at work. The port's
    AES object, 300 to 500 bytes, is made for each text: in C, that is a hundredth of the
    work."""

    def __init__(self, key: bytes) -> None:
        """``key``: 16 bytes."""
        self._key = key
        self._hash_key = int.from_bytes(cryptolib.aes(key, _ECB).encrypt(bytes(16)), "big")

    def seal(self, buffer, start: int, end: int, nonce, aad) -> bytes:
        """Encrypt ``buffer[start:end]`` in place; the tag's 16 bytes.

        ``buffer``: a bytearray or a memoryview of one; ``nonce``: 12 bytes; ``aad``:
        the additional data.
        """
        mask = _crypt(cryptolib.aes(self._key, _ECB), buffer, start, end, nonce)
        return _tag(self._hash_key, buffer, start, end, aad, mask)

    def open(self, buffer, start: int, end: int, nonce, aad, tag) -> bool:
        """Decrypt ``buffer[start:end]`` in place, if ``tag`` is that of ciphertext and
        ``aad``; otherwise False, and the buffer is as it was."""
        aes = cryptolib.aes(self._key, _ECB)
        mask = _crypt(aes, buffer, start, start, nonce)
        expected = _tag(self._hash_key, buffer, start, end, aad, mask)
        # As `keyfob.crypto.hmac.equal`, whose module is not needed while connected.
        difference = len(tag) ^ 16
        for index in range(min(len(tag), 16)):
            difference |= expected[index] ^ tag[index]
        if difference:
            return False
        _crypt(aes, buffer, start, end, nonce)
        return True


def _crypt(aes, buffer, at: int, end: int, nonce) -> bytes:
    """Counter mode from counter 2 on; returns the block of counter 1, for the tag."""
    counters = bytearray(min((end - at + 31) >> 4, _CHUNK_BLOCKS) << 4)
    for offset in range(0, len(counters), 16):
        counters[offset : offset + 12] = nonce
    stream = bytearray(len(counters))
    view = memoryview(buffer)
    counter = 1
    first = None
    while first is None or at < end:
        for offset in range(14, len(counters), 16):
            counters[offset] = counter >> 8
            counters[offset + 1] = counter & 255
            counter += 1
        aes.encrypt(counters, stream)
        skip = 0
        if first is None:
            first = bytes(stream[:16])
            skip = 16
        size = min(end - at, len(stream) - skip)
        if size > 0:
            key = memoryview(stream)[skip : skip + size]
            mixed = int.from_bytes(view[at : at + size], "big") ^ int.from_bytes(key, "big")
            view[at : at + size] = mixed.to_bytes(size, "big")
            at += size
    return first


def _tag(hash_key: int, buffer, start: int, end: int, aad, mask: bytes) -> bytes:
    """GHASH over ``aad``, ``buffer[start:end]``, each filled up with zeros, and both sizes;
    with ``mask`` over it.

    Numbers are polynomials whose highest bit is the coefficient of x^0, as in GCM's
    order of bits, so a product without carries needs no bit turned around.
    """
    # Products of the hash key with each half of a byte, not yet reduced.
    low = [0, hash_key]
    for at in range(2, 16, 2):
        low.append(low[at >> 1] << 1)
        low.append(low[at] ^ hash_key)
    high = [entry << 4 for entry in low]
    sizes = (len(aad) << 67 | (end - start) << 3).to_bytes(16, "big")
    # The 16 names that come first cost least: those of the inner loop are among them.
    value = 0
    for data, at, stop in ((aad, 0, len(aad)), (buffer, start, end), (sizes, 0, 16)):
        data = memoryview(data)
        while at < stop:
            block = int.from_bytes(data[at : min(at + 16, stop)], "big")
            if stop - at < 16:
                block <<= (16 - stop + at) << 3
            product = 0
            for byte in (value ^ block).to_bytes(16, "big"):
                product = product << 8 ^ high[byte >> 4] ^ low[byte & 15]
            # 255 bits; the lower 127 are x^128 and above, and x^128 = x^7 + x^2 + x + 1.
            above = product << 1 & 0xFFFFFFFF_FFFFFFFF_FFFFFFFF_FFFFFFFF
            over = above & 127  # what would be x^128 and above once more
            above ^= ((over ^ over << 5 ^ over << 6) & 127) << 121
            value = product >> 127 ^ above ^ above >> 1 ^ above >> 2 ^ above >> 7
            at += 16
    return (value ^ int.from_bytes(mask, "big")).to_bytes(16, "big")
