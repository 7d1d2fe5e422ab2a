"""keyfob.pki.path on chains that `cryptography` made: ``tests/vectors/x509.txt``.

Written by `x509_cases_forms`, whose cases `test_x509_made` makes anew each time. The
certificates stay in the file until they are needed, as 38 KB of heap want it.
"""

import binascii
import json

import x509_loaded  # noqa: F401 - behind the path that device_support sets
from device_support import VECTORS

from keyfob.errors import KeyfobError
from keyfob.pki import path

FILE = VECTORS + "/x509.txt"


class Vectors:
    """The file's cases, one at a time, with the certificates they name."""

    def __init__(self, file):
        self._file = file
        self._offsets = []

    def __iter__(self):
        while True:
            offset = self._file.tell()
            line = self._file.readline()
            if not line:
                return
            self._offsets.append(offset)
            if line[:1] == b"{":
                yield json.loads(line)
                self._file.seek(offset + len(line))

    def certificates(self, numbers):
        return [self._certificate(number) for number in numbers]

    def _certificate(self, number):
        self._file.seek(self._offsets[number])
        return binascii.a2b_base64(self._file.readline())


class Lazy:
    """Trust anchors that are read one at a time."""

    def __init__(self, vectors, numbers):
        self._vectors, self._numbers = vectors, numbers

    def __iter__(self):
        for number in self._numbers:
            yield self._vectors.certificates([number])[0]


def outcome(vectors, case):
    try:
        path.verify(
            vectors.certificates(case["chain"]),
            Lazy(vectors, case["anchors"]),
            case["host"],
            case["now_s"],
            case["usage"],
            [binascii.a2b_base64(pin) for pin in case["pins"]],
        )
    except KeyfobError as error:
        return error.code, error.detail
    return "", ""


def test_every_chain_is_verified_or_refused_by_its_code():
    codes = {}
    with open(FILE, "rb") as file:
        vectors = Vectors(file)
        for case in vectors:
            code, detail = outcome(vectors, case)
            assert code == case["code"], (case["name"], code, detail)
            for part in case["seen"]:
                assert part in detail, (case["name"], part, detail)
            codes[code] = codes.get(code, 0) + 1
    assert codes[""] > 60 and len(codes) > 20
