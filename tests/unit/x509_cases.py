"""Chains that must be verified, and chains broken in one place with the code for it.

Those of `x509_cases_forms` are broken in their form.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from x509_forge import (
    CLIENT_AUTH,
    DAY,
    HOST,
    NOW,
    NOW_S,
    SERVER_AUTH,
    Node,
    Pair,
    Recipe,
    authority,
    common_name,
    constraints,
    extension_of,
)

ANY_PURPOSE = x509.ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE
SHA384 = hashes.SHA384()
POLICIES = x509.CertificatePolicies(
    [x509.PolicyInformation(x509.ObjectIdentifier("2.23.140.1.2.1"), None)]
)


@dataclass
class Case:
    """``code``: "" for a chain that is verified. ``seen``: what the detail must show."""

    name: str
    chain: list[Pair]
    anchors: list[Pair]
    code: str = ""
    seen: tuple[str, ...] = ()
    host: str = HOST
    now_s: int = NOW_S
    usage: int = 0x80
    pins: tuple[bytes, ...] = ()


CA = authority().sign()
CA_RSA = authority("anchor RSA", kind="rsa2048").sign()
CA_P384 = authority("anchor P-384", kind="p384", hash=SHA384).sign()
MID = authority("intermediate", number=1, path_length=0).sign(CA)
LEAF = Recipe(number=2)


def good() -> Iterator[Case]:
    leaf = LEAF.sign(CA)
    below = LEAF.sign(MID)
    yield Case("directly below the anchor", [leaf], [CA])
    yield Case("one intermediate", [below, MID], [CA])
    yield Case("the anchor sent too", [below, MID, CA], [CA])
    yield Case("an intermediate twice", [below, MID, MID], [CA])
    yield Case("an intermediate as anchor", [below], [MID])
    yield Case("the second anchor", [leaf], [CA_RSA, CA])
    two = authority("lower", number=3).sign(authority("upper", number=4).sign(CA))
    upper = authority("upper", number=4).sign(CA)
    yield Case("intermediates in the wrong order", [LEAF.sign(two), upper, two], [CA])
    other = authority("other", number=5).sign()
    yield Case("certificates that do not belong there", [below, other, leaf, MID], [CA])
    old = authority(number=9).sign()
    yield Case("an anchor of the same name", [leaf], [old, CA])
    cross = authority("anchor", number=0).sign(CA_RSA)
    yield Case("a cross-certificate, old anchor", [below, MID, cross], [CA_RSA])
    yield Case("a cross-certificate, new anchor", [below, MID, cross], [CA])
    expired = authority("intermediate", number=1, end=NOW - DAY / 2).sign(CA)
    yield Case("an expired twin of the intermediate", [below, expired, MID], [CA])
    yield Case("pinned end-entity", [leaf], [CA], pins=(bytes(32), leaf.pin()))
    yield Case("pinned anchor", [below, MID], [CA], pins=(CA.pin(),))
    yield Case("pinned intermediate", [below, MID], [CA], pins=(MID.pin(),))
    bare = Recipe(number=2, has_key_ids=False, usage=None, purposes=None, is_ca=None)
    yield Case("no extension but the SAN", [bare.sign(CA)], [CA])
    nameless = Recipe(name="", number=2)
    yield Case("no subject", [nameless.sign(CA)], [CA])
    serial = Recipe(number=2, serial=(1 << 159) - 1)
    yield Case("serial of 20 bytes", [serial.sign(CA)], [CA])


def algorithms() -> Iterator[Case]:
    """Keys and hashes: those that are taken, weak ones, others."""
    for kind in ("p256", "p384", "rsa2048", "rsa3072", "rsa4096"):
        ca = authority("a " + kind, kind=kind).sign()
        for how in (hashes.SHA256(), SHA384):
            recipe = Recipe(number=2, hash=how)
            yield Case(f"{kind} with {how.name}", [recipe.sign(ca)], [ca])
    for how, size in ((hashes.SHA256(), 32), (SHA384, 48)):
        pss = padding.PSS(padding.MGF1(how), size)
        yield Case(
            f"PSS with {how.name}", [Recipe(number=2, hash=how, pss=pss).sign(CA_RSA)], [CA_RSA]
        )
    pss = padding.PSS(padding.MGF1(hashes.SHA256()), 20)
    short = Recipe(number=2, hash=hashes.SHA256(), pss=pss).sign(CA_RSA)
    yield Case("PSS with a short salt", [short], [CA_RSA], "x509.unsupported", ("salt 20", "2.16"))
    pss = padding.PSS(padding.MGF1(SHA384), 32)
    mixed = Recipe(number=2, hash=hashes.SHA256(), pss=pss).sign(CA_RSA)
    yield Case("PSS with two hashes", [mixed], [CA_RSA], "x509.unsupported", ("mask",))
    for kind, code, seen in (
        ("p384", "", ()),
        ("rsa2048", "", ()),
        ("rsa4096", "", ()),
        ("rsa1024", "x509.weak", ("1024 bits", "2048")),
        ("rsa2040", "x509.weak", ("2040 bits", "2048")),
        ("rsa4104", "x509.unsupported", ("4104 bits", "4096")),
        ("p521", "x509.unsupported", ("1.3.132.0.35",)),
        ("ed25519", "x509.unsupported", ("1.3.101.112",)),
    ):
        leaf = Recipe(kind=kind).sign(CA)
        yield Case(f"end-entity with {kind}", [leaf], [CA], code, seen)
    for kind, code in (("rsa1024", "x509.weak"), ("ed25519", "x509.unsupported")):
        ca = authority("a " + kind, kind=kind).sign()
        yield Case(f"anchor with {kind}", [LEAF.sign(ca)], [ca], code, ("trust anchor",))
        mid = authority("m " + kind, kind=kind).sign(CA)
        yield Case(f"intermediate with {kind}", [LEAF.sign(mid), mid], [CA], code, ("'m " + kind,))
    for ca in (CA, CA_RSA):
        sha1 = Recipe(number=2, hash=hashes.SHA1()).sign(ca)  # noqa: S303
        oid = "1.2.840.10045.4.1" if ca is CA else "1.2.840.113549.1.1.5"
        yield Case("SHA-1 of " + oid, [sha1], [ca], "x509.weak", (oid, "SHA-256"))
    sha512 = Recipe(number=2, hash=hashes.SHA512()).sign(CA)
    yield Case("SHA-512", [sha512], [CA], "x509.unsupported", ("1.2.840.10045.4.3.4",))
    ca = authority("self-signed with SHA-1", kind="rsa2048", hash=hashes.SHA1()).sign()  # noqa: S303
    yield Case("an anchor's own signature is not looked at", [LEAF.sign(ca)], [ca])

    def md5(tbs: Node) -> None:
        tbs[1][2][1][0][1] = b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x04"

    leaf = Recipe(number=2, edit=md5).sign(CA_RSA)
    yield Case("MD5", [leaf], [CA_RSA], "x509.weak", ("1.2.840.113549.1.1.4",))

    def exponent(tbs: Node) -> None:
        tbs[1][6][1][1][1] = tbs[1][6][1][1][1][:-3] + b"\1\0\0"

    leaf = Recipe(kind="rsa2048", edit=exponent).sign(CA)
    yield Case("an even RSA exponent", [leaf], [CA], "x509.weak", ("65536", "odd"))

    def compressed(tbs: Node) -> None:
        point = tbs[1][6][1][1][1]
        tbs[1][6][1][1][1] = b"\0" + bytes([2 + (point[-1] & 1)]) + point[2:34]

    leaf = Recipe(number=2, edit=compressed).sign(CA)
    yield Case("a compressed point", [leaf], [CA], "x509.unsupported", ("33 bytes", "65"))


def dates() -> Iterator[Case]:
    leaf = LEAF.sign(CA)
    first, last = int(LEAF.start.timestamp()), int(LEAF.end.timestamp())
    shown = ("'end-entity'", "2026-11-20T12:00:00Z", "2026-12-21T12:00:00Z")
    yield Case("its first second", [leaf], [CA], now_s=first)
    yield Case("its last second", [leaf], [CA], now_s=last)
    late, early = "2026-12-21T12:00:01Z", "2026-11-20T11:59:59Z"
    yield Case("a second late", [leaf], [CA], "x509.expired", (*shown, late), now_s=last + 1)
    code = "x509.not-yet-valid"
    yield Case("a second early", [leaf], [CA], code, (*shown, early), now_s=first - 1)
    yield Case("a clock never set", [leaf], [CA], code, ("2000-01-01",), now_s=946_684_800)
    for what, how, code in (
        ("expired", {"end": NOW - DAY / 2}, "x509.expired"),
        ("future", {"start": NOW + DAY}, "x509.not-yet-valid"),
    ):
        mid = authority("its intermediate", number=1, **how).sign(CA)
        seen = ("'its intermediate'", "2026-11-21T12:00:00Z")
        yield Case(f"{what} intermediate", [LEAF.sign(mid), mid], [CA], code, seen)
        ca = authority("its anchor", number=1, **how).sign()
        yield Case(f"{what} anchor", [LEAF.sign(ca)], [ca], code, ("trust anchor 'its anchor'",))
    century = Recipe(number=2, end=NOW.replace(year=2099)).sign(CA)
    yield Case("until 2099", [century], [CA])
    never = Recipe(number=2, end=NOW.replace(9999, 12, 31, 23, 59, 59)).sign(CA)
    yield Case("without an end", [never], [CA])


def usages() -> Iterator[Case]:
    """Key usage, extended key usage, basic constraints."""
    code = "x509.wrong-usage"
    for usage, asked, want in (
        (("digital_signature", "key_encipherment"), 0x80, ""),
        (("digital_signature", "key_encipherment"), 0x20, ""),
        (None, 0x20, ""),
        (("key_encipherment",), 0x80, code),
        (("digital_signature",), 0x20, code),
        (("key_agreement", "decipher_only"), 0x80, code),
        (("content_commitment",), 0x80, code),
    ):
        leaf = Recipe(number=2, usage=usage).sign(CA)
        seen = ("want %02x" % asked,) if want else ()
        yield Case(f"key usage {usage} for {asked:02x}", [leaf], [CA], want, seen, usage=asked)
    for purposes, want in (
        ([SERVER_AUTH, CLIENT_AUTH], ""),
        ([CLIENT_AUTH], code),
        ([ANY_PURPOSE], code),
        ([x509.ObjectIdentifier("1.2.3.4")], code),
    ):
        leaf = Recipe(number=2, purposes=purposes).sign(CA)
        seen = (purposes[0].dotted_string, "TLS server") if want else ()
        text = ", ".join(each.dotted_string for each in purposes)
        yield Case("purposes " + text, [leaf], [CA], want, seen)
    for purposes, want in (([SERVER_AUTH], ""), ([ANY_PURPOSE], ""), ([CLIENT_AUTH], code)):
        mid = authority("m", number=1, purposes=purposes).sign(CA)
        text = purposes[0].dotted_string
        seen = ("'m'", text) if want else ()
        yield Case("a CA for " + text, [LEAF.sign(mid), mid], [CA], want, seen)
    for what, how, want in (
        ("CA false", {"is_ca": False}, "x509.not-ca"),
        ("no basic constraints", {"is_ca": None}, "x509.not-ca"),
        ("no key usage", {"usage": None}, ""),
        ("another key usage", {"usage": ("crl_sign", "digital_signature")}, "x509.no-cert-sign"),
    ):
        mid = authority("m", number=1, **how).sign(CA)
        seen = ("'m'",) if want else ()
        yield Case(f"intermediate with {what}", [LEAF.sign(mid), mid], [CA], want, seen)
        ca = authority("an anchor", number=1, **how).sign()
        seen = ("trust anchor 'an anchor'",) if want else ()
        yield Case(f"anchor with {what}", [LEAF.sign(ca)], [ca], want, seen)
    leaf = Recipe(number=2, is_ca=True).sign(CA)
    yield Case("a CA as end-entity", [leaf], [CA], "x509.end-entity-is-ca", ("CA true", "false"))
    own = Recipe(number=2).sign()
    yield Case("a server's own certificate as anchor", [own], [own], "x509.not-ca")
    policies = Recipe(number=2, extra=((POLICIES, False),)).sign(CA)
    yield Case("policies", [policies], [CA])
    unknown = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4.5"), b"\x05\x00")
    for extension, oid in (
        (unknown, "1.2.3.4.5"),
        (POLICIES, "2.5.29.32"),
        (x509.InhibitAnyPolicy(0), "2.5.29.54"),
        (x509.PolicyConstraints(0, None), "2.5.29.36"),
        (x509.PrecertPoison(), "1.3.6.1.4.1.11129.2.4.3"),
    ):
        leaf = Recipe(number=2, extra=((extension, True),)).sign(CA)
        yield Case("critical " + oid, [leaf], [CA], "x509.unknown-critical", ("end-entity", oid))
    leaf = Recipe(number=2, extra=((unknown, False),)).sign(CA)
    yield Case("an unknown extension", [leaf], [CA])
    ca = authority("an anchor", number=1, extra=((unknown, True),)).sign()
    yield Case(
        "critical for an anchor", [LEAF.sign(ca)], [ca], "x509.unknown-critical", ("anchor",)
    )


def names() -> Iterator[Case]:
    """RFC 9525."""
    wrong, none = "x509.wrong-name", "x509.no-san"
    mail = x509.RFC822Name("a@" + HOST)
    for sans, host, code in (
        (("Broker.KEYFOB.test",), HOST, ""),
        ((HOST,), "BROKER.keyfob.TEST", ""),
        ((HOST,), HOST + ".", ""),
        (("a.test", "b.test", HOST), HOST, ""),
        (("*.keyfob.test",), HOST, ""),
        (("192.0.2.7",), "192.0.2.7", ""),
        (("2001:db8::7",), "2001:DB8:0::7", ""),
        (("other.keyfob.test",), HOST, wrong),
        (("*.keyfob.test",), "keyfob.test", wrong),
        (("*.keyfob.test",), "a.b.keyfob.test", wrong),
        (("*.keyfob.test",), "*.keyfob.test", wrong),
        (("*.test",), "keyfob.test", wrong),
        (("b*.keyfob.test",), HOST, wrong),
        ((HOST,), "xbroker.keyfob.test", wrong),
        ((HOST,), "", wrong),
        ((HOST,), ".", wrong),
        (("192.0.2.7",), "192.0.2.8", wrong),
        (("192.0.2.7",), HOST, wrong),
        ((x509.DNSName("192.0.2.7"),), "192.0.2.7", wrong),
        (("2001:db8::7",), "2001:db8::8", wrong),
        (("192.0.2.7",), "::192.0.2.7", wrong),
        ((HOST + ".",), HOST, wrong),
        ((mail,), HOST, none),
        (None, HOST, none),
        ((mail, HOST), HOST, ""),
        ((x509.UniformResourceIdentifier("mqtts://" + HOST),), HOST, none),
    ):
        leaf = Recipe(name=HOST, number=2, sans=sans).sign(CA)
        text = " ".join(each if isinstance(each, str) else repr(each) for each in sans or ())
        seen = (host,) if code else ()
        yield Case(
            f"{host or 'no host'} with {text or 'no SAN'}", [leaf], [CA], code, seen, host=host
        )
    zero = Recipe(number=2, edit=_put_zero).sign(CA)
    yield Case("a zero in a name", [zero], [CA], wrong, (HOST, "broker\0keyfob"))


def _put_zero(tbs: Node) -> None:
    san = extension_of(tbs, "2.5.29.17")[1][-1]
    san[1] = san[1].replace(b"broker.", b"broker\0")


def paths() -> Iterator[Case]:
    leaf, below = LEAF.sign(CA), LEAF.sign(MID)
    other = authority("other anchor", number=5).sign()
    code = "x509.untrusted"
    seen = ("'anchor'", "'other anchor'")
    yield Case("another anchor", [leaf], [other], code, seen)
    yield Case("no anchor", [leaf], [], code, ("'anchor'",))
    yield Case("no intermediate", [below], [CA], code, ("'intermediate'", "'anchor'"))
    yield Case("self-signed", [LEAF.sign()], [CA], code, ("'end-entity'", "'anchor'"))
    twin = authority(number=9).sign()
    yield Case("an anchor of the issuer's name", [leaf], [twin], code, ("signed by key", "has key"))
    loop = authority("x", number=6).sign(
        Pair(b"", authority(number=7).sign().key, common_name("y"))
    )
    pool = authority("y", number=7).sign(
        Pair(b"", authority(number=6).sign().key, common_name("x"))
    )
    yield Case("a circle", [LEAF.sign(loop), loop, pool], [CA], code, ("'anchor'",))
    bare = Recipe(number=2, has_key_ids=False).sign(CA)
    twin = authority(number=9, has_key_ids=False).sign()
    yield Case("another key, and no key ids", [bare], [twin], "x509.bad-signature", ("'anchor'",))
    twin = authority(kind="rsa2048", has_key_ids=False).sign()
    yield Case("another kind of key", [bare], [twin], "x509.bad-signature", ("'anchor'",))
    for what, pair, chain in (
        ("end-entity", below, lambda changed: [changed, MID]),
        ("intermediate", MID, lambda changed: [below, changed]),
    ):
        changed = Pair(_flip(pair.der), pair.key, pair.name)
        case = f"changed {what}"
        yield Case(case, chain(changed), [CA], "x509.bad-signature", ("of '" + what,))
    low = authority("low", number=3).sign(MID)
    yield Case(
        "path length 0, one CA below", [LEAF.sign(low), low, MID], [CA], "x509.path-length",
        ("'intermediate': 1 CAs", "limit 0"),
    )  # fmt: skip
    short = authority("short", number=4, path_length=0).sign()
    mid = authority("m", number=1).sign(short)
    yield Case(
        "path length of an anchor", [LEAF.sign(mid), mid], [short], "x509.path-length", ("1",)
    )
    renewed = authority("short", number=8).sign(short)
    yield Case("self-issued CAs do not count", [LEAF.sign(renewed), renewed], [short])
    one = authority("one", number=4, path_length=1).sign()
    mid = authority("m", number=1).sign(one)
    yield Case("path length 1", [LEAF.sign(mid), mid], [one])
    yield Case("no certificate", [], [CA], "x509.no-certificate")
    pins = (bytes(32), b"\xaa" * 32)
    yield Case(
        "not pinned", [leaf], [CA], "x509.not-pinned", (leaf.pin().hex()[:16], "aa" * 8), pins=pins
    )
    yield Case("pinned and untrusted", [leaf], [other], code, pins=(leaf.pin(),))
    seen = ("'m2'", "valid from")
    mid = authority("m2", number=1, end=NOW - DAY / 2).sign(CA)
    fork = authority("m2", number=9).sign(other)
    case = "the most specific of several"
    yield Case(case, [LEAF.sign(mid), fork, mid], [CA], "x509.expired", seen)


def _flip(der: bytes) -> bytes:
    """With one bit of the key changed, so that only the signature tells."""
    at = der.index(b"\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07") + 30
    return der[:at] + bytes([der[at] ^ 1]) + der[at + 1 :]


def limits() -> Iterator[Case]:
    leaf = LEAF.sign(CA)
    seen = ("9 certificates", "limit 8")
    yield Case("nine certificates", [leaf, *[MID] * 8], [CA], "x509.chain-too-long", seen)
    yield Case("eight certificates", [leaf, *[MID] * 7], [CA])
    ladder = [CA]
    for number in range(5):
        ladder.append(authority(f"step {number}", number=10 + number).sign(ladder[-1]))
    seen = ("5 intermediates", "limit 4")
    top = ladder[:0:-1]
    yield Case(
        "five intermediates", [LEAF.sign(ladder[5]), *top], [CA], "x509.chain-too-long", seen
    )
    yield Case("four intermediates", [LEAF.sign(ladder[4]), *top[1:]], [CA])
    names = [f"{number:060}.test" for number in range(250)]
    big = Recipe(number=2, sans=(HOST, *names)).sign(CA)
    seen = ("bytes, limit 16384",)
    yield Case("too many bytes", [big], [CA], "x509.chain-too-large", seen)
    bare = Recipe(number=2, has_key_ids=False).sign(CA)
    fakes = [authority("anchor", number=20 + number).sign() for number in range(9)]
    seen = ("9 signatures", "limit 8")
    yield Case("nine anchors of one name", [bare], [*fakes, CA], "x509.too-many-checks", seen)
    yield Case("eight anchors of one name", [bare], [*fakes[:7], CA])
    bases = [x509.DNSName(f"{number}.test") for number in range(45)]
    mid = authority("m", number=1, extra=(constraints(bases),)).sign(CA)
    many = Recipe(number=2, sans=[HOST, *[f"{number % 45}.test" for number in range(45)]])
    seen = ("name constraints too many",)
    yield Case("too many names", [many.sign(mid), mid], [CA], "x509.name-not-permitted", (HOST,))
    bases[0] = x509.DNSName("test")
    mid = authority("m", number=1, extra=(constraints(bases),)).sign(CA)
    yield Case("too many comparisons", [many.sign(mid), mid], [CA], "x509.too-many-checks", seen)
