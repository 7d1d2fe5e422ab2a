"""Findings about what belongs together: chain, trust anchors, key, revocation list, broker."""

from __future__ import annotations

import datetime
import os
import subprocess
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from lint_rig import (
    codes,
    device_says,
    errors,
    findings,
    identity,
    key_der,
    key_pem,
    openssl_verify,
    pem,
    write,
)
from x509_forge import (
    CLIENT_AUTH,
    DAY,
    HOST,
    NOW,
    Node,
    Pair,
    Recipe,
    authority,
    common_name,
    constraints,
    key,
    resign,
)

HOUR = datetime.timedelta(hours=1)
CA = authority().sign()
MID = authority("intermediate", number=1, path_length=0).sign(CA)
LEAF = Recipe(name=HOST, number=2)
BELOW = LEAF.sign(MID)
DEVICE = Recipe("sensor-01", ["sensor-01"], number=3, purposes=[CLIENT_AUTH])


def broker_folder(folder: Path, chain: list[Pair], anchors: list[Pair]) -> Path:
    return identity(folder / "broker" / "x", chain, anchors, chain[0].key)


def test_a_chain_with_its_intermediate_has_no_findings(tmp_path: Path) -> None:
    assert codes(broker_folder(tmp_path, [BELOW, MID], [CA])) == []


def test_a_missing_intermediate_is_told(tmp_path: Path) -> None:
    (told,) = findings(broker_folder(tmp_path, [BELOW], [CA]))
    assert told.code == "lint.no-issuer"
    assert "issuer CN=intermediate; trust anchors: CN=anchor" in told.evidence
    assert device_says([BELOW], [CA]) == "x509.untrusted"
    assert openssl_verify(tmp_path, [BELOW], [CA])
    loose = [
        write(tmp_path / f"{name}.pem", pem([pair.der]))
        for name, pair in (("leaf", BELOW), ("mid", MID), ("root", CA))
    ]
    (told,) = findings(*loose)
    assert told.code == "lint.missing-intermediate" and "CN=intermediate" in told.evidence


def test_another_ca_is_told_from_one_of_the_same_name(tmp_path: Path) -> None:
    other = authority("other", number=5).sign()
    leaf = LEAF.sign(CA)
    (told,) = findings(broker_folder(tmp_path / "1", [leaf], [other]))
    assert told.code == "lint.no-issuer" and "trust anchors: CN=other" in told.evidence
    twin = authority(number=9).sign()
    (told,) = findings(broker_folder(tmp_path / "2", [leaf], [twin]))
    assert told.code == "lint.same-name-issuer" and "signed by key" in told.evidence
    for anchor in (other, twin):
        assert device_says([leaf], [anchor]) == "x509.untrusted"
        assert openssl_verify(tmp_path, [leaf], [anchor])


def test_a_wrong_signature_is_told(tmp_path: Path) -> None:
    leaf = LEAF.sign(CA)
    changed = Pair(leaf.der[:-4] + bytes(4), leaf.key, leaf.name)
    (told,) = findings(broker_folder(tmp_path, [changed], [CA]))
    assert told.code == "lint.bad-signature" and told.evidence.endswith("the key of CN=anchor")
    assert device_says([changed], [CA]) == "x509.bad-signature"


@pytest.mark.parametrize(
    ("chain", "code"),
    [
        ([MID, BELOW], "lint.not-first"),
        ([BELOW, MID, CA], "lint.root-sent"),
        ([BELOW, MID, authority("other", number=5).sign()], "lint.unrelated"),
        ([BELOW, MID, MID], "lint.repeated"),
    ],
)
def test_what_is_wrong_with_a_chains_file_is_told(
    chain: list[Pair], code: str, tmp_path: Path
) -> None:
    paths = [
        write(tmp_path / "chain.pem", pem([pair.der for pair in chain])),
        write(tmp_path / "ca.pem", pem([CA.der])),
    ]
    assert codes(*paths) == [code]


def test_intermediates_out_of_order_are_told(tmp_path: Path) -> None:
    upper = authority("upper", number=4).sign(CA)
    lower = authority("lower", number=5).sign(upper)
    leaf = LEAF.sign(lower)
    (told,) = findings(broker_folder(tmp_path, [leaf, upper, lower], [CA]))
    assert told.code == "lint.chain-order"
    assert told.evidence.endswith(f"want: CN={HOST}, CN=lower, CN=upper")


def test_a_certificate_and_a_chain_of_another_are_told(tmp_path: Path) -> None:
    folder = broker_folder(tmp_path, [BELOW, MID], [CA])
    write(folder / "cert.pem", pem([LEAF.sign(CA).der]))
    assert "lint.two-certificates" in errors(findings(folder))


def test_a_name_shared_with_the_ca_is_told(tmp_path: Path) -> None:
    for name in ("anchor", "ANCHOR"):
        leaf = Recipe(name, number=2, has_key_ids=False).sign(CA)
        told = findings(broker_folder(tmp_path / name, [leaf], [CA]))[0]
        assert (told.code, told.severity) == ("lint.same-subject", "error")
        assert told.evidence.endswith(f"CN={name}")
        assert openssl_verify(tmp_path, [leaf], [CA])
        leaf = Recipe(name, number=2).sign(CA)
        told = findings(broker_folder(tmp_path / name, [leaf], [CA]))[-1]
        assert (told.code, told.severity) == ("lint.same-subject", "warning")
        assert not openssl_verify(tmp_path, [leaf], [CA])


def test_a_self_signed_broker_is_told(tmp_path: Path) -> None:
    leaf = LEAF.sign()
    path = write(tmp_path / "x.pem", pem([leaf.der]))
    assert codes(path) == ["lint.self-signed"]
    assert device_says([leaf], [leaf]) == "x509.not-ca"
    device = write(tmp_path / "d.pem", pem([DEVICE.sign().der]))
    (told,) = findings(device)
    assert (told.code, told.severity) == ("lint.self-signed", "warning")


def test_what_openssl_makes_by_default_is_a_ca_and_no_broker(tmp_path: Path) -> None:
    path = tmp_path / "server.pem"
    command = "openssl req -x509 -nodes -newkey ec -pkeyopt ec_paramgen_curve:P-256 -days 30"
    subject = ["-subj", f"/CN={HOST}", "-keyout", str(tmp_path / "server.key"), "-out", str(path)]
    subprocess.run([*command.split(), *subject], check=True, capture_output=True)
    now = datetime.datetime.now(datetime.timezone.utc)
    told = errors(findings(path, role="broker", at=now))
    assert {"lint.end-entity-is-ca", "lint.self-signed", "lint.name-only-in-cn"} <= set(told)


def test_an_exceeded_path_length_is_told(tmp_path: Path) -> None:
    low = authority("low", number=3).sign(MID)
    leaf = LEAF.sign(low)
    (told,) = findings(broker_folder(tmp_path, [leaf, low, MID], [CA]))
    assert told.code == "lint.path-length"
    assert told.evidence == "CN=intermediate: 1 CAs below, at most 0"
    assert device_says([leaf, low, MID], [CA]) == "x509.path-length"
    assert openssl_verify(tmp_path, [leaf, low, MID], [CA])


def test_a_violated_name_constraint_is_told(tmp_path: Path) -> None:
    mid = authority("m", number=1, extra=(constraints([x509.DNSName("other.test")]),)).sign(CA)
    leaf = LEAF.sign(mid)
    (told,) = findings(broker_folder(tmp_path, [leaf, mid], [CA]))
    assert told.code == "lint.name-constraints"
    assert told.evidence == f"DNS:{HOST}; CN=m permits DNS:other.test"
    assert openssl_verify(tmp_path, [leaf, mid], [CA])


def test_a_constraint_that_boards_cannot_judge_is_told(tmp_path: Path) -> None:
    mail = x509.RFC822Name("keyfob.test")
    mid = authority("m", number=1, extra=(constraints([mail]),)).sign(CA)
    leaf = Recipe(HOST, [HOST, x509.RFC822Name("a@keyfob.test")], number=2).sign(mid)
    assert codes(broker_folder(tmp_path, [leaf, mid], [CA])) == ["lint.constraints-for-boards"]
    assert device_says([leaf, mid], [CA]) == "x509.unsupported-constraint"


def test_a_ca_for_another_purpose_is_told(tmp_path: Path) -> None:
    mid = authority("m", number=1, purposes=[CLIENT_AUTH]).sign(CA)
    leaf = LEAF.sign(mid)
    assert codes(broker_folder(tmp_path, [leaf, mid], [CA])) == ["lint.purpose-of-ca"]
    assert device_says([leaf, mid], [CA]) == "x509.wrong-usage"


def test_a_certificate_that_outlives_its_ca_is_told(tmp_path: Path) -> None:
    mid = authority("m", number=1, end=NOW + 10 * DAY).sign(CA)
    (told,) = findings(broker_folder(tmp_path, [LEAF.sign(mid), mid], [CA]))
    assert (told.code, told.severity) == ("lint.outlives-issuer", "warning")


def test_key_identifiers_that_differ_are_told(tmp_path: Path) -> None:
    wrong = x509.AuthorityKeyIdentifier(bytes(20), None, None), False
    leaf = Recipe(HOST, number=2, has_key_ids=False, extra=(wrong,)).sign(CA)
    assert errors(findings(broker_folder(tmp_path, [leaf], [CA]))) == ["lint.key-ids-differ"]
    assert openssl_verify(tmp_path, [leaf], [CA])


def test_a_name_in_another_encoding_is_told(tmp_path: Path) -> None:
    def printable(tbs: Node) -> None:
        tbs[1][3][1][0][1][0][1][1][0] = 0x13

    leaf = Recipe(HOST, number=2, edit=printable).sign(CA)
    assert codes(broker_folder(tmp_path, [leaf], [CA])) == ["lint.name-encoding"]
    assert device_says([leaf], [CA]) == "x509.untrusted"


def test_no_issuer_at_all_is_told(tmp_path: Path) -> None:
    def nobody(tbs: Node) -> None:
        tbs[1][3][1] = []

    leaf = Recipe(HOST, number=2, edit=nobody).sign(CA)
    assert "lint.no-issuer-name" in errors(findings(broker_folder(tmp_path, [leaf], [CA])))


def test_dates_in_the_wrong_order_are_told(tmp_path: Path) -> None:
    def swap(tbs: Node) -> None:
        tbs[1][4][1].reverse()

    leaf = Recipe(HOST, number=2, edit=swap).sign(CA)
    assert "lint.dates-reversed" in codes(broker_folder(tmp_path, [leaf], [CA]))


def test_limits_of_boards_are_told(tmp_path: Path) -> None:
    ladder = [CA]
    for number in range(5):
        ladder.append(authority(f"step {number}", number=10 + number).sign(ladder[-1]))
    chain = [LEAF.sign(ladder[5]), *ladder[:0:-1]]
    assert codes(broker_folder(tmp_path / "1", chain, [CA])) == ["lint.chain-too-long"]
    assert device_says(chain, [CA]) == "x509.chain-too-long"
    device = [DEVICE.sign(ladder[4]), *ladder[4:0:-1]]
    folder = identity(tmp_path / "device" / "sensor-01", device, [CA], device[0].key)
    assert errors(findings(folder)) == ["lint.too-many-stored"]
    names = [f"{number:060}.test" for number in range(70)]
    big = Recipe(HOST, [HOST, *names], number=2).sign(CA)
    found = findings(broker_folder(tmp_path / "2", [big], [CA]))
    assert [one.code for one in found] == ["lint.too-large", "lint.above-record"]
    assert f"{len(big.der)} bytes, at most 4096" in found[0].evidence


# Loose files and slots


def test_an_end_entity_given_as_ca_file_is_told(tmp_path: Path) -> None:
    leaf = DEVICE.sign(CA)
    folder = identity(tmp_path / "device" / "sensor-01", [leaf], [leaf], leaf.key)
    told = [one for one in findings(folder) if one.code == "lint.end-entity-as-anchor"]
    assert told and told[0].file.endswith("ca.pem")
    assert "subject CN=sensor-01, issuer CN=anchor" in told[0].evidence


def test_a_boards_slot_is_checked_as_one_identity(tmp_path: Path) -> None:
    leaf = DEVICE.sign(MID)
    slot = tmp_path / "a"
    for name, content in (
        ("cert.der", leaf.der), ("cert1.der", MID.der), ("ca.der", CA.der),
        ("key.der", key_der(leaf.key, "TraditionalOpenSSL")),
    ):  # fmt: skip
        write(slot / name, content, 0o600)
    assert codes(slot, board="virtual-esp32") == []
    write(slot / "key.der", key_der(key("p256", 77)), 0o600)
    assert errors(findings(slot)) == ["lint.key-mismatch"]
    write(slot / "key.der", key_pem(leaf.key), 0o600)
    assert codes(slot) == ["lint.pem-named-der"]


# The broker's configuration and its revocation list


def crl(*revoked: Pair, issuer: Pair = CA, signer: Pair = CA, start: object = NOW - HOUR,
        end: object = NOW + DAY) -> bytes:  # fmt: skip
    builder = x509.CertificateRevocationListBuilder().issuer_name(issuer.name)
    builder = builder.last_update(start).next_update(end)  # type: ignore[arg-type]
    for pair in revoked:
        entry = x509.RevokedCertificateBuilder().serial_number(pair.certificate.serial_number)
        builder = builder.add_revoked_certificate(entry.revocation_date(NOW - HOUR).build())
    made = builder.sign(signer.key, hashes.SHA256())  # type: ignore[arg-type]
    return made.public_bytes(serialization.Encoding.PEM)


def configure(folder: Path, leaf: Pair, *lines: str, ca: Pair = CA) -> Path:
    write(folder / "ca.pem", pem([ca.der]))
    write(folder / "broker.pem", pem([leaf.der]))
    write(folder / "broker.key", key_pem(leaf.key), 0o600)
    base = ["listener 8883", "cafile ca.pem", "certfile broker.pem", "keyfile broker.key"]
    return write(folder / "mosquitto.conf", "\n".join([*base, *lines]))


def test_what_a_configuration_names_is_checked(tmp_path: Path) -> None:
    leaf = LEAF.sign(CA)
    conf = configure(tmp_path, leaf, "crlfile ca.crl", "tls_version tlsv1.2")
    write(tmp_path / "ca.crl", crl())
    assert codes(conf, host=HOST) == []
    assert codes(tmp_path, host=HOST) == []  # the folder it is in says the same, once
    write(tmp_path / "broker.key", key_pem(key("p256", 50)), 0o600)
    assert codes(conf) == ["lint.key-mismatch"]
    (tmp_path / "broker.key").unlink()
    (told,) = findings(conf)
    assert told.code == "lint.file-missing" and "broker.key" in told.evidence
    os.mkfifo(tmp_path / "broker.key")  # which nobody writes to
    assert codes(conf) == ["lint.file-unreadable"]


def test_included_configurations_are_read_in_their_place(tmp_path: Path) -> None:
    conf = configure(tmp_path, LEAF.sign(CA), "tls_version tlsv1.3")
    (tmp_path / "conf.d").mkdir()
    conf.rename(tmp_path / "conf.d" / "tls.conf")
    main = write(tmp_path / "mosquitto.conf", "# Debian's\ninclude_dir conf.d\n")
    assert codes(main, board="virtual-esp32") == ["lint.tls-version"]
    write(tmp_path / "broker.key", key_pem(key("p256", 51)), 0o600)
    assert codes(main) == codes(tmp_path) == ["lint.key-mismatch"]


def test_der_is_nothing_for_mosquitto(tmp_path: Path) -> None:
    conf = configure(tmp_path, LEAF.sign(CA))
    write(tmp_path / "broker.pem", LEAF.sign(CA).der)
    assert "lint.der-for-broker" in errors(findings(conf))


def test_a_certificate_of_another_ca_than_the_clients_is_no_fault(tmp_path: Path) -> None:
    other = authority("clients", number=5).sign()
    assert codes(configure(tmp_path, LEAF.sign(CA), ca=other)) == []


def test_a_listener_of_tls_13_alone_is_told_for_boards_without(tmp_path: Path) -> None:
    conf = configure(tmp_path, LEAF.sign(CA), "tls_version tlsv1.3")
    assert codes(conf) == []
    for board in ("virtual-esp8266", "virtual-esp32"):
        (told,) = findings(conf, board=board)
        assert told.code == "lint.tls-version" and board in told.evidence


@pytest.mark.parametrize(
    ("content", "code", "seen"),
    [
        (crl(end=NOW - HOUR / 2), "lint.crl-stale", "nextUpdate 2026-11-21T11:30:00Z"),
        (crl(start=NOW + HOUR), "lint.crl-not-yet", "thisUpdate 2026-11-21T13:00:00Z"),
        (crl(issuer=MID, signer=MID), "lint.crl-issuer", "CN=intermediate; CAs: CN=anchor"),
        (crl(signer=MID), "lint.crl-signature", "CN=anchor"),
        (crl(LEAF.sign(CA)), "", ""),
    ],
)
def test_what_is_wrong_with_a_revocation_list_is_told(
    content: bytes, code: str, seen: str, tmp_path: Path
) -> None:
    conf = configure(tmp_path, LEAF.sign(CA), "crlfile ca.crl")
    write(tmp_path / "ca.crl", content)
    found = findings(conf)
    assert [one.code for one in found] == ([code] if code else [])
    assert all(seen in one.evidence for one in found)
    if code in ("lint.crl-stale", "lint.crl-not-yet", "lint.crl-issuer", "lint.crl-signature"):
        checked = ["-crl_check", "-CRLfile", str(tmp_path / "ca.crl")]
        device = DEVICE.sign(CA)
        assert openssl_verify(tmp_path, [device], [CA], *checked, purpose="sslclient")


def test_a_revoked_certificate_is_told(tmp_path: Path) -> None:
    leaf = LEAF.sign(CA)
    conf = configure(tmp_path, leaf, "crlfile ca.crl")
    write(tmp_path / "ca.crl", crl(leaf))
    (told,) = findings(conf)
    assert told.code == "lint.revoked"
    assert leaf.der.find(bytes.fromhex(told.evidence.split("serial ")[1].split(",")[0])) > 0


def test_a_list_that_cannot_be_read_or_never_ends_is_told(tmp_path: Path) -> None:
    conf = configure(tmp_path, LEAF.sign(CA), "crlfile ca.crl")
    der = x509.load_pem_x509_crl(crl()).public_bytes(serialization.Encoding.DER)
    write(tmp_path / "ca.crl", pem([der[:-10] + bytes(1)], "X509 CRL"))
    assert codes(conf) == ["lint.crl-unreadable"]

    def without_next_update(tbs: Node) -> None:
        del tbs[1][4]

    write(tmp_path / "ca.crl", pem([resign(der, CA.key, without_next_update)], "X509 CRL"))
    assert codes(conf) == ["lint.crl-endless"]


def test_a_name_of_two_cas_takes_the_one_that_signed(tmp_path: Path) -> None:
    twin = authority(number=9).sign()
    assert codes(broker_folder(tmp_path, [LEAF.sign(CA)], [twin, CA])) == []


def test_an_anchor_without_subject_is_told_of_its_name(tmp_path: Path) -> None:
    ca = Recipe(common_name(""), None, number=1, is_ca=True, purposes=None,
                usage=("key_cert_sign",)).sign()  # fmt: skip
    found = findings(write(tmp_path / "ca.pem", pem([ca.der])), role="ca")
    assert set(errors(found)) == {"lint.ca-without-subject", "lint.no-issuer-name"}


def test_a_root_that_a_broker_sends_is_no_trust_anchor_for_that(tmp_path: Path) -> None:
    foreign = authority("foreign", number=5).sign()
    chain = [LEAF.sign(foreign), foreign]
    (told,) = findings(broker_folder(tmp_path / "1", chain, [CA]))
    assert told.code == "lint.no-issuer" and "trust anchors: CN=anchor" in told.evidence
    twin = authority(number=9).sign()
    (told,) = findings(broker_folder(tmp_path / "2", [LEAF.sign(twin), twin], [CA]))
    assert told.code == "lint.same-name-issuer" and "CN=anchor has key" in told.evidence
    for sent in (chain, [LEAF.sign(twin), twin]):
        assert device_says(sent, [CA]) in ("x509.untrusted", "x509.bad-signature")
        assert openssl_verify(tmp_path, sent, [CA])


@pytest.mark.parametrize("is_first", [True, False])
def test_of_two_ways_upwards_the_one_that_boards_take_is_judged(
    tmp_path: Path, is_first: bool
) -> None:
    """A CA's key with a certificate of another CA, or with one that is broken."""
    other = authority("other", number=5).sign()
    for number, twin in enumerate((
        authority("intermediate", number=1).sign(other),
        authority("intermediate", number=1, end=NOW - DAY).sign(CA),
        authority("intermediate", number=1, purposes=[CLIENT_AUTH]).sign(CA),
        authority("intermediate", number=1, usage=("crl_sign",)).sign(CA),
        authority("intermediate", number=1, extra=(constraints([x509.DNSName("a.test")]),)).sign(
            CA
        ),
    )):  # fmt: skip
        chain = [BELOW, twin, MID] if is_first else [BELOW, MID, twin]
        assert device_says(chain, [CA]) == ""
        found = findings(broker_folder(tmp_path / str(number), chain, [CA]))
        assert errors(found) == []
        # The other one alone is as wrong as it was.
        alone = [BELOW, twin]
        assert device_says(alone, [CA]), number
        assert errors(findings(broker_folder(tmp_path / f"{number} alone", alone, [CA]))), number
