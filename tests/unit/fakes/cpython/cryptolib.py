"""MicroPython's `cryptolib`, which CPython lacks: AES in ECB and CBC, by `cryptography`."""

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes


class aes:
    """Modes 1 (ECB) and 2 (CBC, carried from call to call); one direction an object."""

    def __init__(self, key, mode, iv=None):
        chaining = modes.ECB() if mode == 1 else modes.CBC(bytes(iv))  # noqa: S305
        self._cipher = Cipher(algorithms.AES(bytes(key)), chaining)
        self._context = None
        self._direction = None

    def encrypt(self, data, out=None):
        return self._run("encryptor", data, out)

    def decrypt(self, data, out=None):
        return self._run("decryptor", data, out)

    def _run(self, direction, data, out):
        if self._direction is None:
            self._direction = direction
            self._context = getattr(self._cipher, direction)()
        if direction != self._direction:
            raise ValueError("can't encrypt & decrypt")
        if len(data) % 16 or (out is not None and len(out) < len(data)):
            raise ValueError("blksize % 16")
        done = self._context.update(bytes(data))
        if out is None:
            return done
        memoryview(out)[: len(done)] = done
        return out
