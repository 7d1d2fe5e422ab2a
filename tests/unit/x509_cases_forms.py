"""Chains whose certificates are broken in their form, and name constraints.

    python tests/unit/x509_cases_forms.py    writes tests/vectors/x509.txt anew

The file holds a run of all cases for interpreters without `cryptography`.
"""

from __future__ import annotations

import base64
import ipaddress
import json
from collections.abc import Iterator
from pathlib import Path

import x509_cases
import x509_cases_claims
from cryptography import x509
from x509_cases import CA, LEAF, MID, Case
from x509_forge import HOST, Node, Pair, Recipe, authority, common_name, constraints, extension_of

VECTORS = Path(__file__).resolve().parent.parent / "vectors" / "x509.txt"


def cases() -> Iterator[Case]:
    """All of them."""
    for name in ("good", "algorithms", "dates", "usages", "names", "paths", "limits"):
        yield from getattr(x509_cases, name)()
    for name in ("claims", "no_dns_names", "shared_names"):
        yield from getattr(x509_cases_claims, name)()
    yield from forms()
    yield from name_constraints()


def forms() -> Iterator[Case]:
    """What is no DER, or no certificate of version 3, though it is signed."""

    def version(number: int):
        def edit(tbs: Node) -> None:
            if number == 1:
                del tbs[1][0]
            else:
                tbs[1][0][1][0][1] = bytes([number - 1])
            if number < 3:
                del tbs[1][-1]

        return edit

    not_v3 = "x509.not-v3"
    for number in (1, 2):
        leaf = Recipe(number=2, edit=version(number)).sign(CA)
        yield Case(f"version {number}", [leaf], [CA], not_v3, ("'end-entity'", f"version {number}"))
        ca = authority("an anchor", number=1, edit=version(number)).sign()
        yield Case(f"anchor of version {number}", [LEAF.sign(ca)], [ca], not_v3, ("an anchor",))
    for what, edit in (
        ("version 4", version(4)),
        ("negative serial", lambda tbs: _set(tbs[1][1], b"\x80\x01")),
        ("serial of 21 bytes", lambda tbs: _set(tbs[1][1], b"\x7f" + bytes(20))),
        ("serial with a zero too many", lambda tbs: _set(tbs[1][1], b"\0\x01")),
        ("serial of no byte", lambda tbs: _set(tbs[1][1], b"")),
        ("a month 13", lambda tbs: _set(tbs[1][4][1][1], b"271321120000Z")),
        ("a 29 February", lambda tbs: _set(tbs[1][4][1][1], b"270229120000Z")),
        ("an hour 24", lambda tbs: _set(tbs[1][4][1][1], b"270228240000Z")),
        ("a second 60", lambda tbs: _set(tbs[1][4][1][1], b"270228235960Z")),
        ("a time without seconds", lambda tbs: _set(tbs[1][4][1][1], b"2702281200Z")),
        ("a time with an offset", lambda tbs: _set(tbs[1][4][1][1], b"2702281200+0100")),
        (
            "a time with a fraction",
            lambda tbs: tbs[1][4][1].__setitem__(1, [24, b"20770228120000.5Z"]),
        ),
        (
            "four digits of a year before 2050",
            lambda tbs: tbs[1][4][1].__setitem__(1, [24, b"20280228120000Z"]),
        ),
        ("an extension twice", lambda tbs: tbs[1][-1][1][0][1].append(tbs[1][-1][1][0][1][0])),
        ("no extension in the list", lambda tbs: _set(tbs[1][-1][1][0], [])),
        ("33 extensions", _many_extensions),
        ("a BOOLEAN of 01", lambda tbs: _set(tbs[1][-1][1][0][1][0][1][1], b"\1")),
        ("critical false said", lambda tbs: _set(tbs[1][-1][1][0][1][0][1][1], b"\0")),
        ("CA false said", lambda tbs: _set_value(tbs, "2.5.29.19", b"\x30\x03\x01\x01\x00")),
        (
            "a path length without CA",
            lambda tbs: _set_value(tbs, "2.5.29.19", b"\x30\x03\x02\x01\x00"),
        ),
        ("bytes behind an extension", lambda tbs: _set_value(tbs, "2.5.29.19", b"\x30\x00\x00")),
        ("an empty key usage", lambda tbs: _set_value(tbs, "2.5.29.15", b"\x03\x01\x00")),
        ("a key usage of zeros", lambda tbs: _set_value(tbs, "2.5.29.15", b"\x03\x02\x07\x00")),
        ("a key usage too long", lambda tbs: _set_value(tbs, "2.5.29.15", b"\x03\x02\x00\x80")),
        ("no purposes in the list", lambda tbs: _set_value(tbs, "2.5.29.37", b"\x30\x00")),
        ("no names in the list", lambda tbs: _set_value(tbs, "2.5.29.17", b"\x30\x00")),
        ("a name of 8 bits", lambda tbs: _set_value(tbs, "2.5.29.17", b"\x30\x03\x82\x01\xe9")),
        ("a name of no form", lambda tbs: _set_value(tbs, "2.5.29.17", b"\x30\x03\xa2\x01a")),
        (
            "an address of 5 bytes",
            lambda tbs: _set_value(tbs, "2.5.29.17", b"\x30\x07\x87\x05abcde"),
        ),
        ("a field too many", lambda tbs: tbs[1].append([5, b""])),
        ("an empty RDN", lambda tbs: tbs[1][5][1].append([0x31, []])),
        ("RSA without NULL", None),
    ):
        if edit is None:
            recipe = Recipe(kind="rsa2048", edit=lambda tbs: tbs[1][6][1][0][1].pop())
        else:
            recipe = Recipe(number=2, edit=edit)
        yield Case(what, [recipe.sign(CA)], [CA], "x509.malformed", ("offset",))
    leaf = LEAF.sign(CA)
    for what, der in (
        ("a byte behind the certificate", leaf.der + b"\0"),
        ("a certificate cut", leaf.der[:-1]),
        ("indefinite length", b"\x30\x80" + leaf.der[4:] + b"\0\0"),
        ("a length too long", b"\x30\x83\0" + leaf.der[2:]),
        ("an empty certificate", b""),
    ):
        broken = Pair(der, leaf.key, leaf.name)
        yield Case(what, [broken, MID], [CA], "x509.malformed", ("offset",))
        bad = Pair(der, CA.key, CA.name)
        yield Case(f"{what}, of an anchor", [leaf], [bad], "x509.bad-anchor", ("offset",))
    outer = leaf.der.replace(b"\x04\x03\x02", b"\x04\x03\x03")
    inner = outer[: outer.index(b"\x04\x03\x03")] + b"\x04\x03\x02"
    inner += outer[len(inner) :]
    two = Pair(inner, leaf.key, leaf.name)
    yield Case("two algorithms", [two], [CA], "x509.malformed", ("inside", "outside"))


def _set(node: Node, content) -> None:
    node[1] = content


def _set_value(tbs: Node, oid: str, value: bytes) -> None:
    extension_of(tbs, oid)[1][-1][1] = value


def _many_extensions(tbs: Node) -> None:
    for number in range(33):
        tbs[1][-1][1][0][1].append([0x30, [[6, bytes([42, number])], [4, b""]]])


def name_constraints() -> Iterator[Case]:
    """RFC 5280 section 4.2.1.10."""
    dns, mail = x509.DNSName, x509.RFC822Name
    refused, unsupported = "x509.name-not-permitted", "x509.unsupported-constraint"

    def net(text: str) -> x509.IPAddress:
        return x509.IPAddress(ipaddress.ip_network(text))

    one = x509.DirectoryName(x509.Name([x509.NameAttribute(x509.NameOID.COUNTRY_NAME, "CH")]))
    swiss = x509.Name([*one.value, *common_name("end-entity")])
    for permitted, excluded, sans, code, seen in (
        ([dns("keyfob.test")], [], (HOST,), "", ()),
        ([dns("KEYFOB.test")], [], ("Broker.Keyfob.Test",), "", ()),
        ([dns(HOST)], [], (HOST,), "", ()),
        ([dns("")], [], (HOST,), "", ()),
        ([dns(".keyfob.test")], [], (HOST,), "", ()),
        ([dns("a.test"), dns("keyfob.test")], [], (HOST,), "", ()),
        ([dns("keyfob.test")], [], (HOST, "192.0.2.7"), "", ()),
        ([dns("keyfob.test")], [], (HOST, "*.keyfob.test"), "", ()),
        ([dns("other.test")], [], (HOST,), refused, ("'m'", HOST, "other.test")),
        ([dns("fob.test")], [], (HOST,), refused, (HOST, "fob.test")),
        ([dns("a." + HOST)], [], (HOST,), refused, (HOST,)),
        ([dns("." + HOST)], [], (HOST,), refused, (HOST,)),
        ([dns("broker.keyfob.test")], [], (HOST, "*.keyfob.test"), refused, ("*.keyfob.test",)),
        ([dns("keyfob.test")], [], (HOST, "evil.test"), refused, ("evil.test",)),
        ([], [dns("other.test")], (HOST,), "", ()),
        ([], [dns("keyfob.test")], (HOST,), refused, (HOST, "excludes keyfob.test")),
        ([], [dns(".keyfob.test")], (HOST,), refused, (HOST,)),
        ([], [dns("")], (HOST,), refused, (HOST,)),
        ([], [dns("a.keyfob.test")], (HOST, "*.keyfob.test"), refused, ("*.keyfob.test",)),
        ([], [dns("a.b.keyfob.test")], (HOST, "*.keyfob.test"), "", ()),
        ([dns("keyfob.test")], [dns(HOST)], (HOST,), refused, (HOST, "excludes")),
        ([net("192.0.2.0/24")], [], (HOST, "192.0.2.7"), "", ()),
        ([net("192.0.2.0/24")], [], (HOST,), "", ()),
        ([net("192.0.2.0/24")], [], (HOST, "192.0.3.7"), refused, ("192.0.2.0/ffffff00",)),
        ([net("192.0.2.0/24")], [], (HOST, "2001:db8::7"), refused, ("2001:db8:0:0:0:0:0:7",)),
        ([net("2001:db8::/32")], [], (HOST, "2001:db8::7"), "", ()),
        ([net("2001:db8::/33")], [], (HOST, "2001:db8:8000::7"), refused, ("2001:db8:8000",)),
        ([], [net("0.0.0.0/0")], (HOST, "192.0.2.7"), refused, ("192.0.2.7", "0.0.0.0/00000000")),
        ([], [net("192.0.2.7/32")], (HOST, "192.0.2.8"), "", ()),
        ([mail("keyfob.test")], [], (HOST,), "", ()),
        ([mail("keyfob.test")], [], (HOST, mail("a@keyfob.test")), unsupported, ("form 129",)),
        ([], [mail("other.test")], (HOST, mail("a@keyfob.test")), unsupported, ("form 129",)),
        ([one], [], (HOST,), "", ()),
        ([x509.DirectoryName(common_name("CH"))], [], (HOST,), refused, ("CH/end-entity; 'm'",)),
        ([], [one], (HOST,), unsupported, ("form 164",)),
    ):  # fmt: skip
        mid = authority("m", number=1, extra=(constraints(permitted, excluded),)).sign(CA)
        leaf = Recipe(swiss, number=2, sans=sans).sign(mid)
        bases = [f"+{_general(each)}" for each in permitted] + [
            f"-{_general(each)}" for each in excluded
        ]
        names = [each if isinstance(each, str) else each.value for each in sans]
        name = f"constraints {' '.join(bases)} for {' '.join(names)}"
        yield Case(name, [leaf, mid], [CA], code, seen)
    yield from _constrained_paths(constraints([dns("keyfob.test")]))


def _constrained_paths(extra) -> Iterator[Case]:
    ca = authority("an anchor", number=4, extra=(extra,)).sign()
    leaf = Recipe(number=2, sans=(HOST, "evil.test"))
    code, seen = "x509.name-not-permitted", ("evil.test", "trust anchor 'an anchor'")
    yield Case("constraints of an anchor", [leaf.sign(ca)], [ca], code, seen)
    mid = authority("m", number=1).sign(ca)
    yield Case("constraints two above", [leaf.sign(mid), mid], [ca], code, seen)
    evil = authority("m", number=1, sans=("evil.test",)).sign(ca)
    yield Case("constraints on an intermediate", [LEAF.sign(evil), evil], [ca], code, seen)
    renewed = authority("an anchor", number=8, sans=("evil.test",)).sign(ca)
    yield Case("constraints spare self-issued CAs", [LEAF.sign(renewed), renewed], [ca])
    for what, value in (
        ("without one", b"\x30\x00"),
        ("permitted, without one", b"\x30\x02\xa0\x00"),
        ("with a minimum", b"\x30\x0a\xa0\x08\x30\x06\x82\x01a\x80\x01\x00"),
        ("with an address alone", b"\x30\x0a\xa0\x08\x30\x06\x87\x04\xc0\0\2\0"),
        ("with a mask of holes", b"\x30\x0e\xa0\x0c\x30\x0a\x87\x08\xc0\0\2\0\xff\0\xff\0"),
    ):

        def edit(tbs: Node, value: bytes = value) -> None:
            _set_value(tbs, "2.5.29.30", value)

        mid = authority("m", number=1, extra=(extra,), edit=edit).sign(CA)
        code = "x509.malformed"
        yield Case(f"constraints {what}", [LEAF.sign(mid), mid], [CA], code, ("offset",))


def _general(name: x509.GeneralName) -> str:
    if isinstance(name, x509.DirectoryName):
        return name.value.rfc4514_string()
    return f"mail:{name.value}" if isinstance(name, x509.RFC822Name) else str(name.value)


def write_vectors() -> None:
    """A line for each certificate, in base64, and one for each case behind those it needs."""
    lines: list[str] = []
    places: dict[bytes, int] = {}

    def place(pair: Pair) -> int:
        if pair.der not in places:
            places[pair.der] = len(lines)
            lines.append(base64.b64encode(pair.der).decode())
        return places[pair.der]

    for case in cases():
        if sum(len(pair.der) for pair in case.chain) > 16_384:
            continue  # of no use but to be too large
        pins = [base64.b64encode(pin).decode() for pin in case.pins]
        told = {**vars(case), "pins": pins}
        told["chain"] = [place(pair) for pair in case.chain]
        told["anchors"] = [place(pair) for pair in case.anchors]
        lines.append(json.dumps(told))
    VECTORS.write_text("".join(line + "\n" for line in lines))
    print(f"{VECTORS.name}: {VECTORS.stat().st_size:,} bytes")


if __name__ == "__main__":
    write_vectors()
