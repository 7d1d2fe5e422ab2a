"""Slow and large chains in an ESP8266's heap: P-384 and SHA-384, RSA-4096, PSS of each size.

A 32-bit MicroPython with 38 KB verifies chains of three, from plain files and from ROMFS,
and refuses them with one bit changed.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import board_files
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from test_on_micropython import micropython32  # noqa: F401 - a fixture, used below
from x509_forge import HOST, NOW_S, Recipe, authority

SHA256, SHA384 = hashes.SHA256(), hashes.SHA384()
# Kind of the anchor's key, of the intermediate's and of the end-entity's, hash, and PSS.
CHAINS = {
    "P-384 throughout": (("p384", "p384", "p384"), SHA384, False),
    "P-256 below two of P-384": (("p384", "p384", "p256"), SHA384, False),
    "P-256 below P-384 below RSA-4096": (("rsa4096", "p384", "p256"), SHA384, False),
    "RSA-4096 throughout": (("rsa4096", "rsa4096", "rsa4096"), SHA256, False),
    "PSS of 2048 with SHA-256": (("rsa2048", "rsa2048", "rsa2048"), SHA256, True),
    "PSS of 3072 with SHA-384": (("rsa3072", "rsa3072", "rsa2048"), SHA384, True),
    "PSS of 4096 with SHA-256": (("rsa4096", "rsa4096", "rsa2048"), SHA256, True),
    "PSS of 4096 with SHA-384": (("rsa4096", "rsa4096", "rsa2048"), SHA384, True),
}
# Two of them take 38 to 40 KB from plain files: there the engine says tls.no-memory.
CASES = [(what, place) for what in CHAINS for place in ("files", "ROMFS")]
CASES.remove(("PSS of 4096 with SHA-384", "files"))
CASES.remove(("PSS of 3072 with SHA-384", "files"))
PROGRAM = """from keyfob.errors import KeyfobError
from keyfob.pki import path
def read(name):
    with open({folder!r} + "/" + name, "rb") as file:
        return bytearray(file.read())
chain = [read("leaf"), read("mid")]
if {changed}:
    chain[{changed} - 1][-9] ^= 1
try:
    print(path.verify(chain, [read("anchor")], {host!r}, {now_s}).key_kind)
except KeyfobError as error:
    print(error.code)
"""


@pytest.mark.parametrize(("what", "place"), CASES)
def test_chain_is_verified_in_38_kb(
    what: str,
    place: str,
    tmp_path: Path,
    micropython32: list[str],  # noqa: F811
) -> None:
    (top, middle, bottom), hash_, has_pss = CHAINS[what]
    size = hash_.digest_size
    pss = padding.PSS(padding.MGF1(hash_), size) if has_pss else None
    anchor = authority("anchor", kind=top, number=71).sign()
    mid = authority("mid", kind=middle, number=72, hash=hash_, pss=pss).sign(anchor)
    leaf = Recipe(kind=bottom, number=73, hash=hash_, pss=pss).sign(mid)
    for name, pair in (("anchor", anchor), ("mid", mid), ("leaf", leaf)):
        (tmp_path / name).write_bytes(pair.der)
    kind = "rsa" if bottom.startswith("rsa") else bottom
    make = board_files.make_rom if place == "ROMFS" else board_files.make_files
    for changed, want in enumerate((kind, "x509.bad-signature", "x509.bad-signature")):
        values = {"folder": str(tmp_path), "host": HOST, "now_s": NOW_S, "changed": changed}
        run = make(tmp_path, PROGRAM.format(**values), [])
        command = [*micropython32, "-X", "heapsize=38k", str(run)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert (done.returncode, done.stdout.split()) == (0, [want]), done.stdout + done.stderr
