#!/usr/bin/env python3
"""What it costs a board to verify a certificate chain: instructions, heap, flash.

    tools/bench_pki.py [--write]

Counted as `tools/bench_crypto.py` counts primitives: 32-bit MicroPython under callgrind,
the verifier loading and unloading its modules from ``.mpy`` files as it does on a board.
The chains have the shapes that are met in the field; `cryptography` makes them. Prints a
table; with ``--write`` also puts it into ``tools/RESULTS_PKI.md``. It judges nothing and
is no test.
"""

from __future__ import annotations

import argparse
import datetime
import sys
import tempfile
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes

import bench_crypto  # beside this script
from bench import rig

sys.path.insert(0, str(rig.ROOT / "tests" / "unit"))

from x509_forge import CLIENT_AUTH, HOST, NOW_S, SERVER_AUTH, Pair, Recipe, authority

_RESULTS = rig.ROOT / "tools" / "RESULTS_PKI.md"
_SETUP = "from keyfob.pki import path"
_CALL = f"path.verify(CHAIN, ANCHORS, {HOST!r}, {NOW_S})"
_INTRODUCTION = """\
# The X.509 verifier

What the last run of `tools/bench_pki.py` said. Instructions are user-mode ones of the
32-bit MicroPython for i386 under callgrind, for one verification after a first one,
loading the verifier's modules included. Heap is the smallest in which the same MicroPython
verifies the chain from `.mpy` files; its own 2 KB, the chain and the trust anchor are in
it. Bytes are those of the chain as it is sent.

"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true", help="update tools/RESULTS_PKI.md")
    options = parser.parse_args()
    lines = ["| chain | bytes | instructions | heap, bytes |", "|---|---:|---:|---:|"]
    with tempfile.TemporaryDirectory(prefix="keyfob-bench-") as scratch:
        board = Path(scratch, "board")
        rig.compile_tree(rig.FIRMWARE / "keyfob", board / "keyfob")
        counted = bench_crypto._counted_micropython(Path(scratch, "i386"))
        sizes = {path.stem: path.stat().st_size for path in (board / "keyfob/pki").glob("*.mpy")}
        for label, chain, anchor in _chains():
            print(label, file=sys.stderr, flush=True)
            parts = [pair.der for pair in chain]
            values: dict[str, object] = {"CHAIN": parts, "ANCHORS": [anchor.der]}
            verify = bench_crypto.Primitive(label, _SETUP, _CALL, values)
            size = sum(map(len, parts))
            instructions = bench_crypto._instructions(verify, board, counted)
            heap = bench_crypto._smallest_heap(verify, board)
            lines.append(f"| {label} | {size:,} | {instructions:,} | {heap:,} |")
    lines += ["", "`.mpy` bytes of each module: "]
    lines[-1] += ", ".join(f"{name} {sizes[name]:,}" for name in sorted(sizes)) + "."
    head = f"`tools/bench_pki.py`, {datetime.date.today().isoformat()}, {rig.processor()}.\n\n"
    text = head + "\n".join(lines) + "\n"
    print(text)
    if options.write:
        _RESULTS.write_text(_INTRODUCTION + text)
    return 0


def _chains() -> list[tuple[str, list[Pair], Pair]]:
    found = []
    for kind, text in (("p256", "P-256"), ("rsa2048", "RSA-2048")):
        ca = authority("Keyfob CA", kind=kind).sign()
        mid = authority("Keyfob devices", kind=kind, number=1, path_length=0).sign(ca)
        leaf = Recipe(HOST, kind=kind, number=2)
        found.append((f"{text}, directly below the anchor", [leaf.sign(ca)], ca))
        found.append((f"{text}, one intermediate", [leaf.sign(mid), mid], ca))
    sha256, sha384 = hashes.SHA256(), hashes.SHA384()
    for label, kinds, signed in (
        (
            "RSA-2048 below RSA-2048 below RSA-4096",
            ("rsa4096", "rsa2048", "rsa2048"),
            (sha256,) * 2,
        ),
        ("P-256 below P-384 below RSA-4096", ("rsa4096", "p384", "p256"), (sha256, sha384)),
        ("P-256 below P-384 below P-384", ("p384", "p384", "p256"), (sha384, sha384)),
    ):
        found.append((f"public CA's shape, {label}", *_public(kinds, signed)))
    return found


def _public(kinds: tuple[str, ...], signed: tuple) -> tuple[list[Pair], Pair]:
    """As public CAs issue: long names, both purposes, policies, addresses, timestamps."""
    root = authority(_name("Internet Security Society", "Public Root X1"), kind=kinds[0])
    anchor = root.sign()
    mid = authority(
        _name("Let Us Encrypt", "E5"), kind=kinds[1], number=1, path_length=0, hash=signed[0],
        purposes=[SERVER_AUTH, CLIENT_AUTH], extra=_extra("x1"),
        usage=("digital_signature", "key_cert_sign", "crl_sign"),
    ).sign(anchor)  # fmt: skip
    timestamps = x509.ObjectIdentifier("1.3.6.1.4.1.11129.2.4.2")
    scts = (x509.UnrecognizedExtension(timestamps, b"\x04\x81\xf0" + bytes(240)), False)
    leaf = Recipe(
        HOST, sans=(HOST, "www.keyfob.test"), kind=kinds[2], number=2, hash=signed[1],
        purposes=[SERVER_AUTH, CLIENT_AUTH], extra=(*_extra("e5"), scts),
    )  # fmt: skip
    return [leaf.sign(mid), mid], anchor


def _name(organization: str, common_name: str) -> x509.Name:
    parts = (
        (x509.NameOID.COUNTRY_NAME, "US"),
        (x509.NameOID.ORGANIZATION_NAME, organization),
        (x509.NameOID.COMMON_NAME, common_name),
    )
    return x509.Name([x509.NameAttribute(oid, text) for oid, text in parts])


def _extra(label: str) -> tuple[tuple[x509.ExtensionType, bool], ...]:
    issued = x509.UniformResourceIdentifier(f"http://{label}.i.public.test/")
    revoked = x509.UniformResourceIdentifier(f"http://{label}.c.public.test/104.crl")
    policy = x509.PolicyInformation(x509.ObjectIdentifier("2.23.140.1.2.1"), None)
    access = x509.AccessDescription(x509.AuthorityInformationAccessOID.CA_ISSUERS, issued)
    return (
        (x509.CertificatePolicies([policy]), False),
        (x509.AuthorityInformationAccess([access]), False),
        (x509.CRLDistributionPoints([x509.DistributionPoint([revoked], None, None, None)]), False),
    )


if __name__ == "__main__":
    sys.exit(main())
