"""Each finding about one certificate, on one that is broken in that place only.

Where the linter says that a board or a broker refuses, the device's verifier or ``openssl
verify`` is shown to refuse.
"""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from lint_rig import (
    codes,
    device_says,
    errors,
    findings,
    identity,
    library_says,
    openssl_verify,
    pem,
    write,
)
from x509_cases import POLICIES
from x509_cases_forms import _set, _set_value
from x509_forge import (
    CLIENT_AUTH,
    DAY,
    HOST,
    NOW,
    SERVER_AUTH,
    Node,
    Recipe,
    authority,
    common_name,
    constraints,
    extension_of,
)

from keyfob_host.lint import Role

HOUR = datetime.timedelta(hours=1)
UNKNOWN = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4.5"), b"\x05\x00")
CA = authority().sign()


def broker(**how: object) -> Recipe:
    return Recipe(**{"name": HOST, "number": 2, **how})  # type: ignore[arg-type]


def device(**how: object) -> Recipe:
    base = {"name": "sensor-01", "sans": ("sensor-01",), "purposes": [CLIENT_AUTH], "number": 2}
    return Recipe(**{**base, **how})  # type: ignore[arg-type]


def version(number: int):
    def edit(tbs: Node) -> None:
        if number == 1:
            del tbs[1][0]
        else:
            tbs[1][0][1][0][1] = bytes([number - 1])
        del tbs[1][-1]

    return edit


def not_critical(oid: str):
    def edit(tbs: Node) -> None:
        del extension_of(tbs, oid)[1][1]

    return edit


def extension_twice(tbs: Node) -> None:
    tbs[1][-1][1][0][1].append(tbs[1][-1][1][0][1][0])


def utc(text: bytes):
    return lambda tbs: _set(tbs[1][4][1][1], text)


def generalized(text: bytes):
    return lambda tbs: tbs[1][4][1].__setitem__(1, [24, text])


@dataclass
class Row:
    """``proof``: who else refuses it: the device's verifier, OpenSSL, `cryptography`'s."""

    name: str
    recipe: Recipe
    role: Role
    code: str
    seen: str
    proof: str = ""


ROWS = (
    Row("version 1", device(edit=version(1)), "device", "lint.not-v3", "version 1, want 3; no ext",
        "library"),
    Row("version 2 of a broker", broker(edit=version(2)), "broker", "lint.not-v3", "version 2",
        "device"),
    Row("version 2", device(edit=version(2)), "device", "lint.not-v3", "version 2", "library"),
    Row("version 4", broker(edit=lambda tbs: _set(tbs[1][0][1][0], b"\3")), "broker",
        "lint.not-v3", "version 4, want 3", "device"),
    Row("serial of 21 bytes", broker(edit=lambda tbs: _set(tbs[1][1], b"\x7f" + bytes(20))),
        "broker", "lint.serial", "21 bytes, at most 20", "device"),
    Row("negative serial", broker(edit=lambda tbs: _set(tbs[1][1], b"\x80\x01")), "broker",
        "lint.serial", "negative: 8001", "device"),
    Row("serial 0", broker(edit=lambda tbs: _set(tbs[1][1], b"\0")), "broker",
        "lint.serial-zero", "want 1 or more"),
    Row("expired", broker(end=NOW - HOUR), "broker", "lint.expired",
        "notAfter 2026-11-21T11:00:00Z, now 2026-11-21T12:00:00Z", "device"),
    Row("device expired", device(end=NOW - HOUR), "device", "lint.expired", "11:00", "openssl"),
    Row("not yet", broker(start=NOW + HOUR), "broker", "lint.not-yet-valid",
        "notBefore 2026-11-21T13:00:00Z", "device"),
    Row("fresh", broker(start=NOW - HOUR), "broker", "lint.fresh", "1 h 0 min ago, want 24 h"),
    Row("long", broker(end=NOW + 900 * DAY), "broker", "lint.long-validity", "901 days"),
    Row("until 2199", broker(end=NOW.replace(2199)), "broker", "lint.absurd-dates", "2199"),
    Row("from 1970", broker(start=NOW.replace(1970)), "broker", "lint.absurd-dates", "1970"),
    Row("month 13", broker(edit=utc(b"271321120000Z")), "broker", "lint.time-form",
        "on no calendar", "device"),
    Row("no seconds", broker(edit=utc(b"2702281200Z")), "broker", "lint.time-form",
        "want YYMMDDHHMMSSZ", "device"),
    Row("an offset", broker(edit=utc(b"2702281200+0100")), "broker", "lint.time-form",
        "want YYMMDDHHMMSSZ", "device"),
    Row("four digits", broker(edit=generalized(b"20280228120000Z")), "broker", "lint.time-form",
        "before 2050, want UTCTime", "device"),
    Row("a fraction", broker(edit=generalized(b"20770228120000.5Z")), "broker", "lint.time-form",
        "want YYYYMMDDHHMMSSZ", "device"),
    Row("twice", broker(edit=extension_twice), "broker", "lint.duplicate-extension",
        "basic constraints (2.5.29.19), more than once", "device"),
    Row("unknown critical", broker(extra=((UNKNOWN, True),)), "broker",
        "lint.unprocessed-critical", "1.2.3.4.5 is critical", "device"),
    Row("unknown critical of a device", device(extra=((UNKNOWN, True),)), "device",
        "lint.unprocessed-critical", "1.2.3.4.5 is critical", "openssl"),
    Row("critical policies", broker(extra=((POLICIES, True),)), "broker",
        "lint.unprocessed-critical", "certificate policies (2.5.29.32)", "device"),
    Row("no basic constraints", broker(is_ca=None), "broker", "lint.no-basic-constraints", "none"),
    Row("a CA as broker", broker(is_ca=True), "broker", "lint.end-entity-is-ca", "CA:TRUE",
        "device"),
    Row("a CA as device", device(is_ca=True), "device", "lint.device-is-ca", "CA:TRUE"),
    Row("key usage", broker(usage=("key_agreement",)), "broker", "lint.key-usage",
        "keyAgreement; want digitalSignature", "device"),
    Row("key usage of a device", device(usage=("key_encipherment",)), "device", "lint.key-usage",
        "keyEncipherment; want digitalSignature", "openssl"),
    Row("encipherment alone", broker(kind="rsa2048", usage=("key_encipherment",)), "broker",
        "lint.key-usage-rsa-only", "want digitalSignature too", "device"),
    Row("a CA's usage", broker(usage=("digital_signature", "key_cert_sign")), "broker",
        "lint.end-entity-is-ca", "keyCertSign, with CA:FALSE", "device"),
    Row("a CA's usage for lists", broker(usage=("digital_signature", "crl_sign")), "broker",
        "lint.key-usage-of-ca", "cRLSign, with CA:FALSE"),
    Row("a CA's usage of a device", device(usage=("digital_signature", "key_cert_sign")), "device",
        "lint.key-usage-of-ca", "keyCertSign, with CA:FALSE"),
    Row("a CA's constraints", broker(extra=(constraints([x509.DNSName("keyfob.test")]),)),
        "broker", "lint.end-entity-is-ca", "name constraints, with CA:FALSE", "device"),
    Row("for clients", broker(purposes=[CLIENT_AUTH]), "broker", "lint.wrong-purpose",
        "clientAuth; want serverAuth", "device"),
    Row("for servers", device(purposes=[SERVER_AUTH]), "device", "lint.wrong-purpose",
        "serverAuth; want clientAuth", "openssl"),
    Row("for nothing", broker(purposes=None), "broker", "lint.no-purpose", "want serverAuth"),
    Row("no key ids", broker(has_key_ids=False), "broker", "lint.no-key-ids", "authority key id"),
    Row("no SAN", broker(name="broker", sans=None), "broker", "lint.no-san", "want DNS or IP",
        "device"),
    Row("mail alone", broker(name="x", sans=[x509.RFC822Name("a@" + HOST)]), "broker",
        "lint.no-san", "email:a@", "device"),
    Row("name in CN alone", broker(sans=None), "broker", "lint.name-only-in-cn", "CN=" + HOST,
        "device"),
    Row("address in CN alone", broker(name="192.0.2.7", sans=None), "broker",
        "lint.name-only-in-cn", "CN=192.0.2.7", "device"),
    Row("address in CN", broker(name="192.0.2.7"), "broker", "lint.address-in-cn", "CN=192.0.2.7",
        "device at 192.0.2.7"),
    Row("CN not in SAN", broker(name="other.test"), "broker", "lint.cn-not-in-san", "other.test"),
    Row("address as DNS", broker(sans=[HOST, x509.DNSName("192.0.2.7")]), "broker",
        "lint.address-as-dns", "want IP:192.0.2.7", "device at 192.0.2.7"),
    Row("half a wildcard", broker(name="b", sans=["b*.keyfob.test"]), "broker", "lint.wildcard",
        "b*.keyfob.test", "device"),
    Row("wildcard of a top level", broker(sans=[HOST, "*.test"]), "broker", "lint.wildcard",
        "DNS:*.test", "device at keyfob.test"),
    Row("wildcard within", broker(sans=[HOST, "a.*.test"]), "broker", "lint.wildcard",
        "DNS:a.*.test", "device at a.b.test"),
    Row("no DNS name", broker(sans=[HOST, "a b.test"]), "broker", "lint.dns-name", "DNS:a b.test",
        "device at a b.test"),
    Row("trailing dot", broker(name="x", sans=[HOST + "."]), "broker", "lint.dns-name", HOST + ".",
        "device"),
    Row("no subject", broker(name="", edit=not_critical("2.5.29.17")), "broker",
        "lint.empty-subject", "not critical, want critical", "device"),
    Row("critical SAN", broker(sans=None, extra=((x509.SubjectAlternativeName(
        [x509.DNSName(HOST)]), True),)), "broker", "lint.san-critical", "critical; subject: CN="),
    Row("no common name", device(name=x509.Name(
        [x509.NameAttribute(x509.NameOID.ORGANIZATION_NAME, "Works")])), "device",
        "lint.no-common-name", "O=Works"),
    Row("topic in the name", device(name="sensor/01"), "device", "lint.user-name", "'/' in CN"),
    Row("RSA-1024", broker(kind="rsa1024"), "broker", "lint.key-weak", "1024 bits", "device"),
    Row("RSA-1024 of a device", device(kind="rsa1024"), "device", "lint.key-weak", "1024 bits",
        "openssl -auth_level 2"),
    Row("RSA of 4104 bits", broker(kind="rsa4104"), "broker", "lint.key-for-boards", "4104",
        "device"),
    Row("P-521", broker(kind="p521"), "broker", "lint.key-for-boards", "p521; boards", "device"),
    Row("Ed25519", broker(kind="ed25519"), "broker", "lint.key-for-boards", "ed25519", "device"),
    Row("SHA-1", broker(hash=hashes.SHA1()), "broker", "lint.signature-weak",  # noqa: S303
        "ecdsa with sha1, want sha256", "device"),
    Row("SHA-1 of a device", device(hash=hashes.SHA1()), "device",  # noqa: S303
        "lint.signature-weak", "sha1", "openssl -auth_level 2"),
    Row("SHA-512", broker(hash=hashes.SHA512()), "broker", "lint.signature-for-boards", "sha512",
        "device"),
    Row("a byte behind an extension",
        broker(edit=lambda tbs: _set_value(tbs, "2.5.29.19", b"\x30\x00\x00")), "broker",
        "lint.malformed", "1 bytes behind basic constraints", "device"),
)  # fmt: skip

CA_ROWS = (
    Row("CA false", authority(number=1, is_ca=False), "ca", "lint.not-ca", "CA:FALSE", "device"),
    Row("no basic constraints", authority(number=1, is_ca=None), "ca", "lint.not-ca", "none",
        "device"),
    Row("not critical", authority(number=1, edit=not_critical("2.5.29.19")), "ca",
        "lint.basic-constraints-not-critical", "not critical"),
    Row("key usage", authority(number=1, usage=("crl_sign",)), "ca", "lint.cannot-sign",
        "cRLSign; want keyCertSign", "device"),
    Row("no key usage", authority(number=1, usage=None), "ca", "lint.no-key-usage", "none"),
    Row("usage not critical", authority(number=1, edit=not_critical("2.5.29.15")), "ca",
        "lint.key-usage-not-critical", "not critical"),
    Row("RSA-1024", authority(number=1, kind="rsa1024"), "ca", "lint.key-weak", "1024", "device"),
    Row("SHA-1 by itself", authority(number=1, hash=hashes.SHA1()), "ca",  # noqa: S303
        "lint.own-signature-weak", "sha1"),
    Row("no name", authority("", number=1), "ca", "lint.ca-without-subject", "empty"),
    Row("unknown critical", authority(number=1, extra=((UNKNOWN, True),)), "ca",
        "lint.unprocessed-critical", "1.2.3.4.5", "device"),
    Row("expired", authority(number=1, end=NOW - HOUR), "ca", "lint.expired", "11:00", "device"),
)  # fmt: skip


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_an_end_entity_broken_in_one_place_is_told(row: Row, tmp_path: Path) -> None:
    leaf = row.recipe.sign(CA)
    folder = identity(tmp_path / row.role / "x", [leaf], [CA])
    found = findings(folder)
    told = [one for one in found if one.code == row.code]
    assert told, found
    assert any(row.seen in one.evidence for one in told), told
    # Nothing else is an error, but that without extensions there are no names either.
    without_names = {"lint.name-only-in-cn"} if row.code == "lint.not-v3" else set()
    assert set(errors(found)) <= {row.code, *without_names}, found
    check_proof(row, [leaf], [CA], tmp_path)
    if row.code in errors(found) and row.code != "lint.no-common-name":
        assert row.proof, "who else refuses it?"


@pytest.mark.parametrize("row", CA_ROWS, ids=lambda row: row.name)
def test_a_ca_broken_in_one_place_is_told(row: Row, tmp_path: Path) -> None:
    ca = row.recipe.sign()
    leaf = broker().sign(ca)
    write(tmp_path / "ca.cert.pem", pem([ca.der]))
    found = findings(tmp_path / "ca.cert.pem", role="ca")
    told = [one for one in found if one.code == row.code]
    assert told and row.seen in told[0].evidence, found
    assert set(errors(found)) <= {row.code, "lint.no-issuer-name"}, found
    check_proof(row, [leaf], [ca], tmp_path)


def check_proof(row: Row, chain, anchors, folder: Path) -> None:
    how, _, rest = row.proof.partition(" ")
    if how == "device":
        assert device_says(chain, anchors, rest.removeprefix("at ") or HOST)
    elif how == "openssl":
        assert openssl_verify(folder, chain, anchors, *rest.split(), purpose="sslclient")
    elif how == "library":
        said = library_says(chain, anchors)
        assert "X509v3" in said or "version" in said


@pytest.mark.parametrize(
    ("host", "sans", "is_covered"),
    [
        (HOST, [HOST], True),
        (HOST.upper(), [HOST], True),
        (HOST + ".", [HOST], True),
        (HOST, ["*.keyfob.test"], True),
        ("a.b.keyfob.test", ["*.keyfob.test"], False),
        ("keyfob.test", ["*.keyfob.test"], False),
        ("192.0.2.7", ["192.0.2.7"], True),
        ("192.0.2.8", [HOST, "192.0.2.7"], False),
        ("2001:DB8:0::7", ["2001:db8::7"], True),
        ("192.0.2.7", [HOST, x509.DNSName("192.0.2.7")], False),
    ],
)
def test_the_host_is_covered_as_the_device_sees_it(
    host: str, sans: list, is_covered: bool, tmp_path: Path
) -> None:
    leaf = broker(sans=sans).sign(CA)
    folder = identity(tmp_path / "broker" / "x", [leaf], [CA])
    assert ("lint.host-not-covered" not in codes(folder, host=host)) == is_covered
    assert (device_says([leaf], [CA], host) == "") == is_covered


def test_the_role_follows_from_the_usages(tmp_path: Path) -> None:
    for recipe, title in ((broker(), "broker"), (device(), "device")):
        path = write(tmp_path / f"{title}.pem", pem([recipe.sign(CA).der]))
        assert codes(path) == []
    path = write(tmp_path / "none.pem", pem([device(purposes=None, sans=None).sign(CA).der]))
    assert codes(path) == ["lint.no-purpose", "lint.no-san"]
    assert "lint.no-san" in errors(findings(path, role="broker"))


def test_control_characters_of_a_name_do_not_reach_the_terminal(tmp_path: Path) -> None:
    leaf = device(name=common_name("a\x1b[31mred\x07/")).sign(CA)
    found = findings(write(tmp_path / "x.pem", pem([leaf.der])))
    assert found and all("\x1b" not in repr_of(one) for one in found)


def repr_of(one: object) -> str:
    return "".join(str(value) for value in vars(one).values())


def test_a_device_whose_name_could_be_a_hosts_may_have_it_as_san(tmp_path: Path) -> None:
    leaf = device(sans=None).sign(CA)
    (told,) = findings(identity(tmp_path / "device" / "sensor-01", [leaf], [CA]))
    assert (told.code, told.severity) == ("lint.no-san", "note")
