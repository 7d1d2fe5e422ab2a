"""Hostile certificates for the verifier, the same ones on every interpreter.

Each input is a certificate of ``tests/vectors/x509.txt`` changed in one to four places.
It goes through everything that reads it, up to the signature check; what is raised and
is no `KeyfobError` ends the run.
"""

import binascii

from keyfob.errors import KeyfobError
from keyfob.pki import path

HOST = "broker.keyfob.test"
NOW_S = 1_795_262_400
# What lengths, tags and times are read from.
VALUES = (0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x17, 0x18, 0x30, 0x31, 0x7F, 0x80, 0x81,
          0x82, 0x83, 0x87, 0xA0, 0xA1, 0xA3, 0xA4, 0xFE, 0xFF)  # fmt: skip


class Numbers:
    """Numbers from a seed (xorshift of 32 bits)."""

    def __init__(self, seed):
        self._state = seed * 2654435761 % 0xFFFFFFFB + 1

    def below(self, limit):
        state = self._state
        state ^= state << 13 & 0xFFFFFFFF
        state ^= state >> 17
        state ^= state << 5 & 0xFFFFFFFF
        self._state = state
        return state % limit


def load(file_name):
    """The certificates of the vectors, an end-entity and its anchor first."""
    with open(file_name) as file:
        return [binascii.a2b_base64(line) for line in file if line[:1] != "{"]


class Stored:
    """The same from the file when they are asked for, for a small heap: the first two, and
    of the others one of every ``step``."""

    def __init__(self, file_name, step):
        self._file = open(file_name)  # noqa: SIM115 - as long as the program
        self._offsets = []
        offset = at = 0
        for line in self._file:
            if line[:1] != "{":
                at += 1
                if at <= 2 or at % step == 0:
                    self._offsets.append(offset)
            offset += len(line)

    def __len__(self):
        return len(self._offsets)

    def __getitem__(self, index):
        self._file.seek(self._offsets[index])
        return binascii.a2b_base64(self._file.readline())


def change(der, other, numbers):
    """``der`` with one place changed."""
    at = numbers.below(len(der) + 1)
    size = numbers.below(6)
    kind = numbers.below(8)
    if kind < 3 and at < len(der):
        value = numbers.below(256) if kind else VALUES[numbers.below(len(VALUES))]
        return der[:at] + bytes((value,)) + der[at + 1 :]
    if kind == 3 and at < len(der):
        return der[:at] + bytes((der[at] ^ 1 << numbers.below(8),)) + der[at + 1 :]
    if kind == 4:
        return der[:at] + der[at + size :]
    if kind == 5:
        return der[:at] + bytes(size) + der[at:]
    if kind == 6:
        return der[:at] + der[at : at + size] + der[at:]
    start = numbers.below(len(other) + 1)
    return der[:at] + other[start : start + size * 8] + der[at + size * 8 :]


def make(number, certificates):
    """The input of that ``number``: never a certificate as it was."""
    numbers = Numbers(number)
    count = len(certificates)
    whole = der = certificates[numbers.below(count)]
    left = 1 + numbers.below(4)
    while left > 0 or der == whole:
        der = change(der, certificates[numbers.below(count)], numbers)
        left -= 1
    return der


def as_end_entity(der, leaf, anchor):
    next(path.steps([der, anchor], [anchor], HOST, NOW_S))


def as_issuer(der, leaf, anchor):
    next(path.steps([leaf, der], [der], HOST, NOW_S))


def by_parts(der, leaf, anchor):
    """What is not met on the way to a signature check; it needs all modules at once."""
    from keyfob.pki import certificate, constraints, names, signature

    if signature.verify_signature(0x0403, bytes(65), bytes(32), der[-80:]):
        raise ValueError("a signature of nobody's")
    read = certificate.Certificate(der)
    if len(read.names) > 4 or len(read.issuer + read.subject) > 128:
        raise ValueError("texts that are not cut")
    if read.name_constraints is not None:
        constraints.NameConstraints(read).check(certificate.Certificate(leaf), 1000)
    names.check_host(read, HOST)


def judge(readers, der, leaf, anchor):
    """Let each of ``readers`` read ``der``; whether one comes to a signature check."""
    passed = 0
    for reader in readers:
        try:
            reader(der, leaf, anchor)
            passed += 1
        except KeyfobError as error:
            if error.code[:5] != "x509.":
                raise ValueError("code " + error.code) from error
    return passed > 0


def run(first, count, certificates, readers=(as_end_entity, as_issuer)):
    """(inputs, how many of them came to such a check), from the input ``first`` on."""
    passed = judged = 0
    leaf, anchor = certificates[0], certificates[1]
    while judged < count:
        der = make(first + judged, certificates)
        try:
            passed += judge(readers, der, leaf, anchor)
        except Exception:
            print("input", first + judged, binascii.hexlify(der))
            raise
        judged += 1
    return judged, passed
