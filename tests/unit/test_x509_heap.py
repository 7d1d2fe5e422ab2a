"""Slow and large chains in an ESP8266's heap: P-384 and SHA-384, RSA-4096, PSS of each size.

A 32-bit MicroPython with 38 KB verifies chains of three, from plain files and from ROMFS,
and refuses them with one bit changed. It judges the chains of x509-limbo, those of well-known
sites among them, as a computer does.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import board_files
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from test_on_micropython import micropython32  # noqa: F401 - a fixture, used below
from test_x509_limbo import CASES as LIMBO
from test_x509_limbo import chain_of, verdict_on
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
# Those within the bytes that a chain may have, all but the sites' in the long run only.
LIMBO_NAMES = [
    pytest.param(name, marks=() if name.startswith("online") else pytest.mark.slow)
    for name, case in LIMBO.items()
    if sum(map(len, chain_of(case))) <= 16_384
]
PROGRAM = """from keyfob.errors import KeyfobError
from keyfob.pki import path
def read(name):
    with open({folder!r} + "/" + name, "rb") as file:
        return bytearray(file.read())
chain = [read("chain%d" % at) for at in range({certificates})]
if {changed}:
    chain[{changed} - 1][-9] ^= 1
try:
    anchors = [read("anchor%d" % at) for at in range({anchors})]
    print(path.verify(chain, anchors, {host!r}, {now_s}).key_kind)
except KeyfobError as error:
    print(error.code)
"""


def judged(
    folder: Path,
    micropython32: list[str],  # noqa: F811
    chain: list[bytes],
    anchors: list[bytes],
    place: str,
    host: str = HOST,
    now_s: int = NOW_S,
    changed: int = 0,
) -> list[str]:
    """What a 32-bit MicroPython with 38 KB says: the kind of the key, or the code. ``changed``:
    the number of the certificate of which one bit is, from 1."""
    for stem, ders in (("chain", chain), ("anchor", anchors)):
        for at, der in enumerate(ders):
            (folder / f"{stem}{at}").write_bytes(der)
    make = board_files.make_rom if place == "ROMFS" else board_files.make_files
    program = PROGRAM.format(
        folder=str(folder), certificates=len(chain), anchors=len(anchors), host=host,
        now_s=now_s, changed=changed,
    )  # fmt: skip
    command = [*micropython32, "-X", "heapsize=38k", str(make(folder, program, []))]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.split()


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
    kind = "rsa" if bottom.startswith("rsa") else bottom
    for changed, want in enumerate((kind, "x509.bad-signature", "x509.bad-signature")):
        chain = [leaf.der, mid.der]
        found = judged(tmp_path, micropython32, chain, [anchor.der], place, changed=changed)
        assert found == [want]


@pytest.mark.parametrize("name", LIMBO_NAMES)
def test_chain_of_x509_limbo_is_judged_in_38_kb(
    name: str,
    tmp_path: Path,
    micropython32: list[str],  # noqa: F811
) -> None:
    case = LIMBO[name]
    chain, anchors = chain_of(case), chain_of(case, "anchors")
    found = judged(
        tmp_path, micropython32, chain, anchors, "ROMFS", host=case["host"], now_s=case["at_s"]
    )  # fmt: skip
    assert found == [verdict_on(case)]
