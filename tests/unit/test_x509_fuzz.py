"""Hostile DER: whatever comes, the verifier refuses it with an error of its own.

Under CPython 1,000,000 inputs from all vectors; under a 32-bit MicroPython with an
ESP8266's heap 50,000 from one in twenty of them. Everyday a sample.
"""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import board_files
import pytest
import x509_fuzz
import x509_loaded  # noqa: F401
from cryptography.hazmat.primitives import serialization
from test_on_micropython import micropython32  # noqa: F401 - a fixture, used below
from x509_cases import CA, CA_RSA, LEAF, MID, Case
from x509_cases_forms import VECTORS, cases
from x509_forge import HOST, NOW_S, Node, Pair, decode, encode, key, resign
from x509_reference import cryptography_says

from keyfob.errors import KeyfobError
from keyfob.pki import path, private_key

HERE = Path(__file__).resolve().parent
# What cryptography's policy asks for and RFC 5280 section 6.1 does not, or what the
# verifier says that it does not check.
THEIRS_ALONE = (
    "missing required extension",  # key identifiers, a CA's key usage
    "must contain keyIdentifier",
    "incorrect criticality",
    "MUST NOT be critical when subject is nonempty",
    "malformed DNS name constraint",  # with a leading dot, or of all names
    "malformed SAN",
    "unsupported directoryName constraint",
    "invalid domain name",  # an absolute host name
    "duplicate attributes",
    "AttributeTypeValue",  # characters of strings
    'location: ["subject"]',
    "SubjectPublicKey",  # an RSA modulus that is no product of two primes
)
PROGRAM = f"import x509_fuzz as f; print(*f.run(0, {{}}, f.Stored({str(VECTORS)!r}, {{}})))"
slow = [pytest.mark.slow, pytest.mark.timeout(3600)]


@pytest.mark.parametrize("count", [1500, pytest.param(1_000_000, marks=slow)])
def test_changed_certificates_raise_nothing_but_our_own_error(count: int) -> None:
    """In an interpreter that has nothing else loaded, which is looked through each time."""
    program = (
        f"import sys; sys.path.insert(0, {str(HERE)!r}); import device_support, x509_loaded; "
        "import x509_fuzz as fuzz; readers = (fuzz.as_end_entity, fuzz.as_issuer, fuzz.by_parts); "
        f"print(*fuzz.run(0, {count}, fuzz.load({str(VECTORS)!r}), readers))"
    )
    check_fuzz([sys.executable, "-c", program], count)


def check_fuzz(command: list[str], count: int) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=3600, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    judged, passed = map(int, done.stdout.split())
    assert judged == count and 0 < passed < count / 2


def test_an_esp8266s_heap_bears_hostile_certificates(
    tmp_path: Path,
    micropython32: list[str],  # noqa: F811
) -> None:
    """From plain files, which takes most of the heap: the verifier loads and unloads its
    modules as it goes. A heap that is full all the same is the engine's tls.no-memory."""
    run = board_files.make_files(tmp_path, PROGRAM.format(300, 200), [HERE / "x509_fuzz.py"])
    check_fuzz([*micropython32, "-X", "heapsize=38k", str(run)], 300)


@pytest.mark.parametrize("count", [300, pytest.param(50_000, marks=slow)])
def test_an_esp8266s_heap_bears_them_from_romfs(
    count: int,
    tmp_path: Path,
    micropython32: list[str],  # noqa: F811
) -> None:
    program = PROGRAM.format(count, 20)
    run = board_files.make_rom(tmp_path, program, [HERE / "x509_fuzz.py"])
    check_fuzz([*micropython32, "-X", "heapsize=38k", str(run)], count)


@pytest.mark.parametrize("step", [5, pytest.param(1, marks=pytest.mark.slow)])
def test_a_chain_with_any_byte_changed_is_refused(step: int) -> None:
    chain, anchors = [LEAF.sign(MID).der, MID.der], [CA.der]
    path.verify(chain, anchors, HOST, NOW_S)
    numbers = random.Random(1)
    codes = set()
    for place in (0, 1):
        for at in range(0, len(chain[place]), step):
            der = bytearray(chain[place])
            der[at] ^= 1 << numbers.randrange(8)
            changed = [*chain[:place], bytes(der), *chain[place + 1 :]]
            try:
                path.verify(changed, anchors, HOST, NOW_S)
            except KeyfobError as error:
                codes.add(error.code)
            else:
                raise AssertionError((place, at))
    assert {"x509.bad-signature", "x509.malformed", "x509.untrusted"} <= codes


def _nodes(nodes: list[Node]) -> list[Node]:
    """Every node below, those of DER within octet and bit strings too."""
    found = []
    for node in nodes:
        found.append(node)
        if not isinstance(node[1], bytes):
            found += _nodes(node[1])
        elif node[0] == 4 and len(node[1]) > 2 and node[1][0] in (0x30, 0x03):
            try:
                inside = decode(node[1])
            except IndexError:
                continue
            if encode(inside) == node[1]:
                node[1] = inside
                found += _nodes(inside)
    return found


def _mutate(tbs: Node, numbers: random.Random) -> None:
    """Change one element of a TBSCertificate: its tag, its content, or its neighbours."""
    node = numbers.choice(_nodes([tbs])[1:])
    kind = numbers.randrange(6)
    if isinstance(node[1], bytes):
        content = bytearray(node[1])
        if kind == 0:
            node[0] ^= 1 << numbers.randrange(8)
        elif kind == 1 and content:
            content[numbers.randrange(len(content))] ^= 1 << numbers.randrange(8)
        elif kind == 2:
            content = content[: numbers.randrange(len(content) + 1)]
        elif kind == 3:
            content.insert(numbers.randrange(len(content) + 1), numbers.randrange(256))
        elif kind == 4:
            content = bytearray(numbers.choice((b"", b"\0", b"\xff", b"\x30\0", bytes(40))))
        else:
            content[:] = content[::-1]
        node[1] = bytes(content)
    elif kind == 0:
        node[0] ^= 1 << numbers.choice((0, 1, 2, 3, 4, 6, 7))
    elif kind in (1, 2) and node[1]:
        del node[1][numbers.randrange(len(node[1]))]
    elif kind in (3, 4) and node[1]:
        node[1].insert(numbers.randrange(len(node[1])), numbers.choice(node[1]))
    else:
        numbers.shuffle(node[1])


@pytest.mark.parametrize("count", [300, pytest.param(30_000, marks=slow)])
def test_what_is_changed_and_signed_again_is_taken_only_if_cryptography_takes_it(
    count: int,
) -> None:
    """The signer is trusted, and careless or worse."""
    numbers = random.Random(count)
    sources = [case for case in cases() if not case.code and len(case.chain) in (1, 2)]
    sources = [case for case in sources if case.anchors[0] in (CA, CA_RSA)]
    taken = 0
    for index in range(count):
        case = numbers.choice(sources)
        chain = list(case.chain)
        at = numbers.randrange(len(chain))
        signer = chain[at + 1] if at + 1 < len(chain) else case.anchors[0]
        pair = chain[at]

        def edit(tbs: Node) -> None:
            _mutate(tbs, numbers)

        try:
            chain[at] = Pair(resign(pair.der, signer.key, edit), pair.key, pair.name)
        except (IndexError, TypeError, ValueError):
            continue  # not even a certificate to sign
        changed = Case(f"{index}: {case.name}", chain, case.anchors, host=case.host)
        try:
            path.verify([each.der for each in chain], [case.anchors[0].der], case.host, case.now_s)
        except KeyfobError as error:
            assert error.code.startswith("x509."), changed.name
            continue
        taken += 1
        theirs = cryptography_says(changed)
        is_known = any(part in theirs for part in THEIRS_ALONE)
        assert not theirs or is_known, (changed.name, theirs, chain[at].der.hex())
    assert taken > count / 200


KEYS = [
    key(kind).private_bytes(serialization.Encoding.DER, form, serialization.NoEncryption())
    for kind in ("p256", "rsa2048")
    for form in (
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.PrivateFormat.PKCS8,
    )
]


@pytest.mark.parametrize("count", [2000, pytest.param(100_000, marks=slow)])
def test_changed_keys_raise_nothing_but_our_own_error(count: int) -> None:
    refused = 0
    for number in range(count):
        der = x509_fuzz.make(number, KEYS)
        try:
            private_key.load(der)
        except KeyfobError as error:
            refused += 1
            assert error.code == "tls.bad-key"
    assert 0 < refused < count
