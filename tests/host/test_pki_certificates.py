"""Certificates judged by verifiers that are not ours: openssl and cryptography's own."""

from __future__ import annotations

import functools
import operator
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509 import verification
from judges import needs_openssl, openssl, strict_verdict

from keyfob_host.errors import KeyfobHostError
from keyfob_host.pki.authority import Authority
from keyfob_host.pki.identity import Identity

NOW = datetime.now(timezone.utc)
SANS = ["DNS:broker.keyfob.test", "*.fleet.keyfob.test", "IP:192.0.2.7", "2001:db8::7"]


@pytest.fixture(scope="module", params=["p256", "rsa2048"])
def key_type(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority.ephemeral("Test CA")


@pytest.fixture(scope="module")
def broker(authority: Authority, key_type: str) -> Identity:
    return authority.issue_broker("broker.keyfob.test", SANS, key_type=key_type)


@pytest.fixture(scope="module")
def device(authority: Authority, key_type: str) -> Identity:
    return authority.issue_device("sensor-01", key_type=key_type)


def openssl_verify(tmp_path: Path, identity: Identity, *options: str) -> str:
    """openssl's strict verdict: "" for good, else its words."""
    (tmp_path / "ca.pem").write_bytes(identity.ca_pem())
    (tmp_path / "cert.pem").write_bytes(identity.cert_pem())
    return strict_verdict(tmp_path / "ca.pem", tmp_path / "cert.pem", *options)


@needs_openssl
@pytest.mark.parametrize(
    "option",
    [
        ("-verify_hostname", "broker.keyfob.test"),
        ("-verify_hostname", "a.fleet.keyfob.test"),
        ("-verify_ip", "192.0.2.7"),
        ("-verify_ip", "2001:db8::7"),
    ],
)
def test_openssl_accepts_a_broker_under_each_of_its_names(
    tmp_path: Path, broker: Identity, option: tuple[str, str]
) -> None:
    assert openssl_verify(tmp_path, broker, "-purpose", "sslserver", *option) == ""


@needs_openssl
@pytest.mark.parametrize(
    "option",
    [
        ("-verify_hostname", "other.keyfob.test"),
        ("-verify_hostname", "a.b.fleet.keyfob.test"),
        ("-verify_ip", "192.0.2.8"),
    ],
)
def test_openssl_refuses_a_broker_under_another_name(
    tmp_path: Path, broker: Identity, option: tuple[str, str]
) -> None:
    verdict = openssl_verify(tmp_path, broker, "-purpose", "sslserver", *option)
    assert "mismatch" in verdict


@needs_openssl
def test_openssl_accepts_a_device_as_client_and_not_as_server(
    tmp_path: Path, device: Identity
) -> None:
    assert openssl_verify(tmp_path, device, "-purpose", "sslclient") == ""
    assert "purpose" in openssl_verify(tmp_path, device, "-purpose", "sslserver")


@needs_openssl
def test_openssl_refuses_a_broker_as_client(tmp_path: Path, broker: Identity) -> None:
    assert "purpose" in openssl_verify(tmp_path, broker, "-purpose", "sslclient")


@needs_openssl
def test_openssl_reads_the_extensions_as_rfc_5280_wants_them(
    tmp_path: Path, authority: Authority, broker: Identity, device: Identity, key_type: str
) -> None:
    def text_of(cert_pem: bytes) -> str:
        (tmp_path / "c.pem").write_bytes(cert_pem)
        return " ".join(openssl("x509", "-in", tmp_path / "c.pem", "-noout", "-text").split())

    text = text_of(broker.cert_pem())
    usage = "Digital Signature, Key Encipherment" if key_type == "rsa2048" else "Digital Signature"
    assert "Version: 3 (0x2)" in text
    assert "Basic Constraints: critical CA:FALSE" in text
    assert f"Key Usage: critical {usage} X509v3" in text
    assert "Extended Key Usage: TLS Web Server Authentication X509v3" in text
    assert "DNS:*.fleet.keyfob.test, IP Address:192.0.2.7" in text
    text = text_of(device.cert_pem())
    assert "Key Usage: critical Digital Signature X509v3" in text
    assert "Extended Key Usage: TLS Web Client Authentication X509v3" in text
    text = text_of(authority.cert_pem())
    assert "Basic Constraints: critical CA:TRUE, pathlen:0" in text
    assert "Key Usage: critical Certificate Sign, CRL Sign X509v3" in text
    assert "Extended Key Usage" not in text


@needs_openssl
def test_common_names_are_utf8_strings(tmp_path: Path) -> None:
    made = Authority.ephemeral("Prüfstand {1}")
    (tmp_path / "ca.der").write_bytes(made.cert_der())
    parsed = openssl("asn1parse", "-inform", "DER", "-in", tmp_path / "ca.der")
    assert parsed.count("UTF8STRING") == 2  # issuer and subject
    assert "PRINTABLESTRING" not in parsed


def test_cryptography_verifies_broker_and_device(
    authority: Authority, broker: Identity, device: Identity
) -> None:
    builder = verification.PolicyBuilder().store(verification.Store([authority.cert]))
    server = builder.build_server_verifier(x509.DNSName("broker.keyfob.test"))
    assert server.verify(broker.cert, [])[-1] == authority.cert
    assert builder.build_client_verifier().verify(device.cert, []).chain[-1] == authority.cert
    with pytest.raises(verification.VerificationError):
        server.verify(device.cert, [])
    stranger = Authority.ephemeral("Other CA").issue_device("sensor-01")
    with pytest.raises(verification.VerificationError):
        builder.build_client_verifier().verify(stranger.cert, [])


def test_serial_numbers_are_positive_short_and_distinct(authority: Authority) -> None:
    serials = {authority.issue_device(f"s{n}").cert.serial_number for n in range(50)}
    assert len(serials) == 50
    assert all(0 < serial < 1 << 159 for serial in serials)  # 20 bytes, sign bit clear
    # Each of so many bits is 1 in some and 0 in others: nobody guesses the next one.
    both = (1 << 158) - 1
    ones = functools.reduce(operator.or_, serials) & both
    zeros = functools.reduce(operator.or_, (~serial for serial in serials)) & both
    assert ones == zeros == both


def test_not_before_is_set_back_and_not_after_bounded_by_the_authority() -> None:
    short = Authority.ephemeral(
        "Short CA", not_before=NOW - timedelta(days=9), not_after=NOW + timedelta(days=3)
    )
    cert = short.issue_device("sensor-01", days=400).cert
    a_day_ago = datetime.now(timezone.utc) - timedelta(hours=24)
    assert abs(cert.not_valid_before_utc - a_day_ago) < timedelta(minutes=5)
    assert cert.not_valid_after_utc == short.cert.not_valid_after_utc


def test_end_entity_is_never_valid_before_its_authority(authority: Authority) -> None:
    cert = authority.issue_device("sensor-01").cert
    assert cert.not_valid_before_utc >= authority.cert.not_valid_before_utc


@needs_openssl
def test_dates_and_usages_asked_for_are_given_as_they_stand(
    tmp_path: Path, authority: Authority
) -> None:
    past = authority.issue_broker(
        "b.keyfob.test", not_before=NOW - timedelta(days=20), not_after=NOW - timedelta(days=10)
    )
    assert "certificate has expired" in openssl_verify(tmp_path, past)
    future = authority.issue_broker(
        "b.keyfob.test", not_before=NOW + timedelta(days=1), not_after=NOW + timedelta(days=2)
    )
    assert "not yet valid" in openssl_verify(tmp_path, future)
    swapped = authority.issue_broker("b.keyfob.test", eku=["clientAuth"])
    assert "purpose" in openssl_verify(tmp_path, swapped, "-purpose", "sslserver")
    bare = authority.issue_broker("b.keyfob.test", eku=())
    with pytest.raises(x509.ExtensionNotFound):
        bare.cert.extensions.get_extension_for_class(x509.ExtendedKeyUsage)


def test_dates_in_the_wrong_order_are_refused(authority: Authority) -> None:
    with pytest.raises(KeyfobHostError) as refused:
        authority.issue_device("a", not_before=NOW, not_after=NOW - timedelta(days=1))
    assert refused.value.code == "cert.bad-dates"


def test_an_expired_authority_signs_nothing() -> None:
    old = Authority.ephemeral(
        "Old", not_before=NOW - timedelta(days=9), not_after=NOW - timedelta(days=1)
    )
    with pytest.raises(KeyfobHostError) as refused:
        old.issue_device("sensor-01")
    assert refused.value.code == "ca.expired"
    assert "keyfob ca init --force" in refused.value.fix


@pytest.mark.parametrize("name", ["same", "SAME"])
def test_a_subject_equal_to_the_authority_is_refused(name: str) -> None:
    with pytest.raises(KeyfobHostError) as refused:
        Authority.ephemeral("same").issue_device(name)
    assert refused.value.code == "cert.same-subject"


def test_two_authorities_of_one_profile_have_distinct_subjects() -> None:
    assert Authority.ephemeral().cert.subject != Authority.ephemeral().cert.subject


def test_keys_for_boards_are_sec1_and_pkcs1(authority: Authority) -> None:
    small = authority.issue_device("a", key_type="p256")
    large = authority.issue_device("b", key_type="rsa2048")
    for engine in ("mbedtls", "keyfob"):
        sec1 = small.key_der_for(engine)
        # SEC 1 C.4: SEQUENCE { INTEGER 1, OCTET STRING (32), … }
        assert sec1[0] == 0x30 and sec1[2:7] == bytes.fromhex("0201010420")
        loaded = serialization.load_der_private_key(sec1, None)
        assert isinstance(loaded, ec.EllipticCurvePrivateKey)
    pkcs1 = large.key_der_for("axtls")
    # RFC 8017 A.1.2: SEQUENCE { INTEGER 0, INTEGER modulus (257 bytes with the sign), … }
    assert pkcs1[4:11] == bytes.fromhex("0201000282010100")[:7]
    assert isinstance(serialization.load_der_private_key(pkcs1, None), rsa.RSAPrivateKey)
    with pytest.raises(KeyfobHostError) as refused:
        small.key_der_for("axtls")
    assert refused.value.code == "cert.key-type-not-for-engine"
    assert "--key-type rsa2048" in refused.value.fix


def test_an_unknown_key_type_is_refused(authority: Authority) -> None:
    with pytest.raises(KeyfobHostError) as refused:
        authority.issue_device("a", key_type="dsa")
    assert refused.value.code == "cert.key-type-unknown"
