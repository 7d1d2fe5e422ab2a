"""AES-128-CBC with HMAC-SHA256 as TLS 1.2 has it, in place, in both orders.

RFC 5246 section 6.2.3.2 (MAC, then encrypt) and RFC 7366 (encrypt, then MAC), which is
the better one wherever the peer has it. A fragment is IV, ciphertext and, with RFC 7366,
the MAC.

Time: with encrypt-then-MAC nothing is decrypted before the MAC fits. With MAC-then-encrypt
the padding's length must not show (Vaudenay 2002; Lucky Thirteen, 2013): all bytes that
could be padding are looked at, a wrong padding is taken for none and the MAC is compared
all the same, there is one answer for both, and as many blocks are hashed as without
padding. What remains: Python's own time to cut a buffer at another place, some 100
instructions, which the network's noise has to hide. AES is the port's own C, with tables
in most ports.
"""

import hashlib
import os

import cryptolib
from micropython import const

from keyfob.crypto.hmac import equal, hmac_sha256

_CBC = const(2)
_IV_BYTES = const(16)
_MAC_BYTES = const(32)
_MAX_PADDING_BYTES = const(256)


class Cbc:
    """One direction's keys. ``head`` is, each time, what the MAC covers before the length:
    sequence number, type and version, 11 bytes."""

    def __init__(self, key: bytes, mac_key: bytes, is_mac_last: bool) -> None:
        """``key``: 16 bytes; ``mac_key``: 32; ``is_mac_last``: RFC 7366."""
        self._key = key
        self._mac_key = mac_key
        self._is_mac_last = is_mac_last

    def seal(self, buffer: bytearray, start: int, end: int, head: bytes) -> int:
        """The fragment from ``start`` on, whose text is at ``buffer[start + 16 : end]``.

        Returns the end of the fragment, up to 48 bytes behind ``end``.
        """
        buffer[start : start + _IV_BYTES] = os.urandom(_IV_BYTES)
        if not self._is_mac_last:
            mac = self._mac(buffer, start + _IV_BYTES, end, head)
            buffer[end : end + _MAC_BYTES] = mac
            end += _MAC_BYTES
        padding = 15 - (end - start & 15)
        for _ in range(padding + 1):
            buffer[end] = padding
            end += 1
        text = memoryview(buffer)[start + _IV_BYTES : end]
        self._aes(buffer, start).encrypt(text, text)
        if self._is_mac_last:
            buffer[end : end + _MAC_BYTES] = self._mac(buffer, start, end, head)
            end += _MAC_BYTES
        return end

    def open(self, buffer: bytearray, start: int, end: int, head: bytes):
        """(start, end) of the text in the fragment ``buffer[start:end]``, decrypted in
        place; None if it is not genuine."""
        if self._is_mac_last:
            end -= _MAC_BYTES
            if end - start < 2 * _IV_BYTES or end - start & 15:
                return None
            mac = self._mac(buffer, start, end, head)
            if not equal(mac, memoryview(buffer)[end : end + _MAC_BYTES]):
                return None
        elif end - start < 2 * _IV_BYTES + _MAC_BYTES or end - start & 15:
            return None
        text = memoryview(buffer)[start + _IV_BYTES : end]
        self._aes(buffer, start).decrypt(text, text)
        start += _IV_BYTES
        room = end - start - (0 if self._is_mac_last else _MAC_BYTES)
        padding = _padding_bytes(buffer, end, room)
        if self._is_mac_last:
            return (start, end - padding) if padding else None
        return self._checked(buffer, start, end, head, padding)

    def _checked(self, buffer: bytearray, start: int, end: int, head: bytes, padding: int):
        """The rest of `open` for MAC-then-encrypt; ``padding`` is 0 if it was wrong."""
        most = end - _MAC_BYTES - 1
        stop = end - _MAC_BYTES - (padding or 1)
        mac = self._mac(buffer, start, stop, head)
        # Inner hash: key's block, 13 bytes of head, text, 9 of SHA-256's own padding.
        skipped = (most - start + 149 >> 6) - (stop - start + 149 >> 6)
        hashlib.sha256(bytes(skipped << 6)).digest()
        is_genuine = equal(mac, memoryview(buffer)[stop : stop + _MAC_BYTES])
        return (start, stop) if is_genuine & (padding > 0) else None

    def _mac(self, buffer: bytearray, start: int, end: int, head: bytes) -> bytes:
        size = (end - start).to_bytes(2, "big")
        return hmac_sha256(self._mac_key, head, size, memoryview(buffer)[start:end])

    def _aes(self, buffer: bytearray, start: int):
        return cryptolib.aes(self._key, _CBC, bytes(buffer[start : start + _IV_BYTES]))


def _padding_bytes(buffer: bytearray, end: int, room: int) -> int:
    """The padding before ``end``, its length byte included; 0 if it is wrong.

    At most ``room`` bytes. Looks at all that could be padding, whatever they are.
    """
    size = buffer[end - 1] + 1
    wrong = size > room
    for index in range(1, min(room, _MAX_PADDING_BYTES) + 1):
        wrong |= (index <= size) & (buffer[end - index] != size - 1)
    return size * (not wrong)
