"""Chains whose certificates claim what they may not, and CAs that share a name.

What RFC 5280 says that a certificate must or must not have, and no signature tells.
"""

from __future__ import annotations

from collections.abc import Iterator

from cryptography import x509
from x509_cases import CA, LEAF, Case
from x509_forge import HOST, Node, Recipe, authority, constraints, extension_of

ONE_BASE = constraints([x509.DNSName("keyfob.test")])


def claims() -> Iterator[Case]:
    is_ca = "x509.end-entity-is-ca"
    signs = ("digital_signature", "key_cert_sign")
    for what, how in (("CA false", {}), ("no basic constraints", {"is_ca": None})):
        leaf = Recipe(number=2, usage=signs, **how).sign(CA)
        case = f"an end-entity with {what} that may sign certificates"
        yield Case(case, [leaf], [CA], is_ca, ("'end-entity'", "key usage 84"))
    leaf = Recipe(number=2, usage=("digital_signature", "crl_sign")).sign(CA)
    yield Case("an end-entity that may sign revocation lists", [leaf], [CA])
    for is_critical in (True, False):
        leaf = Recipe(number=2, extra=((ONE_BASE[0], is_critical),)).sign(CA)
        case = f"name constraints of an end-entity, critical: {is_critical}"
        yield Case(case, [leaf], [CA], is_ca, ("'end-entity'", "name constraints"))
    leaf = Recipe(name="", number=2, edit=_not_critical("2.5.29.17")).sign(CA)
    seen = ("offset", "no subject")
    yield Case("no subject, SAN not critical", [leaf], [CA], "x509.malformed", seen)
    leaf = Recipe(number=2, edit=_critical("2.5.29.17")).sign(CA)
    yield Case("a subject, SAN critical", [leaf], [CA])
    nobody = authority("").sign()
    seen = ("offset", "no issuer")
    yield Case("an issuer without a name", [LEAF.sign(nobody)], [nobody], "x509.malformed", seen)
    # Whether a path needs policies does not hang on the mark of the extension that says so.
    for extension, code in (
        (x509.PolicyConstraints(0, None), "x509.unknown-critical"),
        (x509.InhibitAnyPolicy(0), ""),
    ):
        mid = authority("m", number=1, extra=((extension, False),)).sign(CA)
        oid = extension.oid.dotted_string
        seen = ("'m'", oid) if code else ()
        yield Case(f"{oid} not critical", [LEAF.sign(mid), mid], [CA], code, seen)


def _not_critical(oid: str):
    def edit(tbs: Node) -> None:
        del extension_of(tbs, oid)[1][1]

    return edit


def _critical(oid: str):
    def edit(tbs: Node) -> None:
        extension_of(tbs, oid)[1].insert(1, [1, b"\xff"])

    return edit


def no_dns_names() -> Iterator[Case]:
    """Names and bases of name constraints that are no hosts' for an empty label or a star."""
    dns = x509.DNSName
    refused, malformed = "x509.name-not-permitted", "x509.malformed"
    for permitted, excluded, name, code in (
        (["keyfob.test"], [], ".keyfob.test", refused),
        (["keyfob.test"], [], "a..keyfob.test", refused),
        (["keyfob.test"], [], "a.keyfob.test.", refused),
        ([], ["other.test"], "a.other.test.", refused),
        ([], ["other.test"], ".keyfob.test", refused),
        (["keyfob.test."], [], "a.keyfob.test", malformed),
        ([], ["other.test."], "a.other.test", malformed),
        ([], ["a..other.test"], "a.keyfob.test", malformed),
        ([], ["..other.test"], "a.other.test", malformed),
        ([], ["?.other.test"], "a.other.test", malformed),
        (["?.keyfob.test"], [], "a.keyfob.test", malformed),
        ([], ["other.test"], "a.keyfob.test", ""),
    ):
        extra = (constraints(map(dns, permitted), map(dns, excluded)),)
        mid = authority("m", number=1, extra=extra, edit=_put_star).sign(CA)
        leaf = Recipe(number=2, sans=(HOST, name)).sign(mid)
        seen = {refused: (f"name {name}; 'm'",), malformed: ("offset", "constrained")}.get(code, ())
        case = f"bases +{permitted} -{excluded} for {name}"
        yield Case(case, [leaf, mid], [CA], code, seen)


def _put_star(tbs: Node) -> None:
    """For a question mark: `cryptography` makes no constraint with a star."""
    value = extension_of(tbs, "2.5.29.30")[1][-1]
    value[1] = value[1].replace(b"?", b"*")


def shared_names() -> Iterator[Case]:
    """The issuer that the key identifier means is tried before others of its name."""
    fakes = [authority("anchor", number=20 + number).sign() for number in range(9)]
    yield Case("the tenth anchor of one name has the key id", [LEAF.sign(CA)], [*fakes, CA])
    # Each CA with a new key that its old one vouches for, RFC 4210 section 4.4.
    upper = authority("upper", number=3).sign(CA)
    upper_new = authority("upper", number=4).sign(upper)
    lower = authority("lower", number=5).sign(upper_new)
    lower_new = authority("lower", number=6).sign(lower)
    leaf = LEAF.sign(lower_new)
    for case, chain in (
        ("new keys of two CAs", [leaf, lower_new, lower, upper_new, upper]),
        ("new keys of two CAs, behind the old ones", [leaf, lower, lower_new, upper, upper_new]),
        ("new keys of two CAs, from above", [leaf, lower, lower_new, upper_new, upper]),
    ):
        yield Case(case, chain, [CA])
    # Three ways above a CA that did not sign, each with the same signature that is wrong.
    roots = [authority(f"root {number}", number=20 + number).sign() for number in range(3)]
    uppers = [authority("upper", number=3).sign(root) for root in roots]
    twins = [authority("lower", number=number).sign(uppers[0]) for number in (5, 6)]
    bare = Recipe(number=2, has_key_ids=False).sign(twins[1])
    yield Case("three ways to a CA of its name that did not sign", [bare, *twins, *uppers], roots)
    other = authority("upper", number=7).sign(CA)
    wrong = Recipe(number=2).sign(other)
    seen = ("signed by key", "'upper' has key")
    yield Case("a CA of its name, and none of its key id", [wrong, upper], [CA],
               "x509.untrusted", seen)  # fmt: skip
