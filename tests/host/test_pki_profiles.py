"""Certificate profiles are read strictly: field and line are named."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from judges import needs_openssl

from keyfob_host.data import data_path
from keyfob_host.errors import KeyfobHostError
from keyfob_host.pki.authority import Authority
from keyfob_host.pki.profiles import load_profile

GOOD = """\
kind = "device"
key_type = "p256"
days = 30
extended_key_usage = ["clientAuth"]

[subject]
common_name = "{name}"
organization = "Ferry & Sons"
"""


FULL = """\
kind = "device"
key_type = "p256"
days = 30
extended_key_usage = ["clientAuth"]
crl_distribution_point = "http://{host}/Hall-3.crl"

[subject]
common_name = "{name}"
serial_number = "1234-5"
organizational_unit = "Lab"
organization = "Keyfob"
locality = "{site}"
state = "Saxony"
country = "{land}"

[san]
name = true
dns = ["all.keyfob.test"]
ip = ["192.0.2.7"]
uri = ["urn:dev:ops:{name}"]

[variables]
host = "ca.test"
"""


def profile(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "mine.toml"
    path.write_text(text)
    return path


def test_every_profile_that_ships_is_good() -> None:
    given = {"watson-like": {"org": "abc123"}}
    kinds = {
        path.stem: load_profile(path.stem, variables=given.get(path.stem)).kind
        for path in data_path("certs").glob("*.toml")
    }
    assert kinds == {
        "ca": "authority", "root": "authority", "intermediate": "intermediate",
        "broker": "broker", "watson-like": "broker", "device": "device", "aws-like": "device",
    }  # fmt: skip


def test_a_profile_of_ones_own_shapes_the_certificate(tmp_path: Path) -> None:
    chosen = load_profile(profile(tmp_path, GOOD), kind="device")
    cert = Authority.ephemeral("CA").issue_device("sensor-01", profile=chosen).cert
    assert cert.subject.rfc4514_string() == "CN=sensor-01,O=Ferry & Sons"
    assert (cert.not_valid_after_utc - cert.not_valid_before_utc).days <= 31


@pytest.mark.parametrize(
    ("old", "new", "field", "line"),
    [
        ("days = 30", "dais = 30", "dais", 3),
        ("days = 30", "days = 0", "days", 3),
        ("days = 30", 'days = "30"', "days", 3),
        ('"p256"', '"p521"', "key_type", 2),
        ('["clientAuth"]', '["codeSigning"]', "extended_key_usage", 4),
        ('["clientAuth"]', "[]", "extended_key_usage", 4),
        ("days = 30", "days = 30\npath_length = 1", "path_length", 4),
        ('"{name}"', '"{key_id}"', "subject.common_name", 7),
        ('"{name}"', '"fixed"', "subject.common_name", 7),
        ('"{name}"', '"{name.__class__}"', "subject.common_name", 7),
        ('organization = "Ferry & Sons"', 'country = "Germany"', "subject.country", 8),
        ("organization", "organisation", "subject.organisation", 8),
        ('"Ferry & Sons"', '"Ferry {key_id}"', "subject.organization", 8),
        ('"Ferry & Sons"', '"Ferry {"', "subject.organization", 8),
        ('"Ferry & Sons"', '"{Ferry}"', "subject.organization", 8),
        ('"Ferry & Sons"', '" Ferry"', "subject.organization", 8),
        ('"Ferry & Sons"', f'"{"F" * 65}"', "subject.organization", 8),
        ("organization =", "serial_number =", "subject.serial_number", 8),  # the ampersand
        ("[subject]", '[san]\ndns = ["{name}", "a b"]\n[subject]', "san.dns[1]", 7),
        ("[subject]", '[san]\nip = ["192.0.2.300"]\n[subject]', "san.ip[0]", 7),
        ("[subject]", '[san]\nuri = ["no scheme"]\n[subject]', "san.uri[0]", 7),
        ("[subject]", '[san]\nemail = ["a@b.test"]\n[subject]', "san.email", 7),
        ("[subject]", '[variables]\nx = "y"\n[subject]', "variables.x", 7),
        ("days = 30", 'days = 30\ncrl_distribution_point = "ca.crl"', "crl_distribution_point", 4),
        ("days = 30", 'days = 30\nrequest_keys = ["p384"]', "request_keys[0]", 4),
        ('kind = "device"', 'kind = "broker"', "kind", 1),
        ('kind = "device"\n', "", "kind", 1),
    ],
)
def test_a_faulty_field_is_named_with_its_line(
    tmp_path: Path, old: str, new: str, field: str, line: int
) -> None:
    path = profile(tmp_path, GOOD.replace(old, new))
    with pytest.raises(KeyfobHostError) as refused:
        load_profile(path, kind="device")
    assert refused.value.code.startswith("toml.")
    assert field in refused.value.cause
    assert f"{path}:{line}:" in refused.value.evidence


@needs_openssl
def test_subject_sans_and_crl_distribution_point_are_as_the_profile_says(tmp_path: Path) -> None:
    path = profile(tmp_path, FULL)
    chosen = load_profile(path, kind="device", variables={"site": "Hall 3", "land": "DE"})
    cert = Authority.ephemeral("CA").issue_device("Sensor_01", profile=chosen).cert
    (tmp_path / "c.pem").write_bytes(cert.public_bytes(Encoding.PEM))
    done = subprocess.run(
        ["openssl", "x509", "-in", tmp_path / "c.pem", "-noout", "-text", "-nameopt", "oneline"],
        capture_output=True, text=True,
    )  # fmt: skip
    text = " ".join(done.stdout.split())
    assert (
        "Subject: C = DE, ST = Saxony, L = Hall 3, O = Keyfob, OU = Lab, serialNumber = 1234-5, "
        "CN = Sensor_01 " in text
    )
    # The id itself, with its underscore, is no DNS name, and so none of the SANs.
    assert (
        "Subject Alternative Name: DNS:all.keyfob.test, IP Address:192.0.2.7, "
        "URI:urn:dev:ops:Sensor_01 " in text
    )
    assert "CRL Distribution Points: Full Name: URI:http://ca.test/Hall-3.crl" in text
    kinds = {one.oid._name: one._type.name for one in cert.subject}
    assert (kinds["countryName"], kinds["serialNumber"]) == ("PrintableString",) * 2
    assert kinds["localityName"] == "UTF8String"


def test_a_san_template_that_an_id_does_not_fit_is_refused(tmp_path: Path) -> None:
    text = GOOD.replace("[subject]", '[san]\ndns = ["{name}"]\n[subject]')
    chosen = load_profile(profile(tmp_path, text))
    authority = Authority.ephemeral("CA")
    names = authority.issue_device("sensor-01", profile=chosen).cert.extensions
    san = names.get_extension_for_class(x509.SubjectAlternativeName).value
    assert list(san) == [x509.DNSName("sensor-01")]  # once, though `name` gives it too
    with pytest.raises(KeyfobHostError) as refused:
        authority.issue_device("sensor_01", profile=chosen)
    assert refused.value.code == "cert.bad-san" and "sensor_01" in refused.value.evidence


def test_a_value_too_long_for_the_subject_is_refused(tmp_path: Path) -> None:
    text = GOOD.replace("Ferry & Sons", "{name} and {name}")
    chosen = load_profile(profile(tmp_path, text))
    with pytest.raises(KeyfobHostError) as refused:
        Authority.ephemeral("CA").issue_device("s" * 40, profile=chosen)
    assert refused.value.code == "cert.bad-subject" and "85 characters" in refused.value.evidence


@pytest.mark.parametrize("escape", [r"\u0000", r"\n", r"\u001B[2J", r"\u202E", r"\u200B"])
@pytest.mark.parametrize("field", ["Ferry & Sons", "Ferry & Sons {name}"])
def test_a_subject_holds_nothing_that_is_not_seen(tmp_path: Path, field: str, escape: str) -> None:
    assert GOOD.count("Ferry & Sons") == 1
    text = GOOD.replace("Ferry & Sons", field.replace(" & ", escape))
    with pytest.raises(KeyfobHostError) as refused:
        Authority.ephemeral("CA").issue_device("s-1", profile=load_profile(profile(tmp_path, text)))
    assert refused.value.code in ("cert.bad-subject", "toml.out-of-range")
    assert refused.value.evidence.isprintable()


def test_the_shipped_profile_for_aws_makes_a_client_without_sans() -> None:
    chosen = load_profile("aws-like", kind="device", variables={"organization": "Acme"})
    cert = Authority.ephemeral("CA").issue_device("thing-1", profile=chosen).cert
    assert cert.subject.rfc4514_string() == "CN=thing-1,O=Acme"
    with pytest.raises(x509.ExtensionNotFound):
        cert.extensions.get_extension_for_class(x509.SubjectAlternativeName)


@pytest.mark.parametrize("key_type", ["rsa3072", pytest.param("rsa4096", marks=pytest.mark.slow)])
def test_larger_rsa_keys_are_for_brokers_and_authorities(key_type: str) -> None:
    chosen = replace(load_profile("ca", kind="authority"), key_type=key_type)
    made = Authority.ephemeral("Large", profile=chosen)
    broker = made.issue_broker("b.test", key_type=key_type)
    broker.cert.verify_directly_issued_by(made.cert)
    size = int(key_type.removeprefix("rsa"))
    assert (made.key.key_size, broker.key.key_size) == (size, size)
    device = made.issue_device("sensor-01", key_type=key_type)
    with pytest.raises(KeyfobHostError) as refused:
        device.key_der_for("mbedtls")
    assert refused.value.code == "cert.key-type-not-for-engine"


def test_an_authority_with_usages_is_refused(tmp_path: Path) -> None:
    text = GOOD.replace('"device"', '"authority"').replace("{name}", "{key_id}")
    with pytest.raises(KeyfobHostError) as refused:
        load_profile(profile(tmp_path, text))
    assert "extended_key_usage" in refused.value.cause


def test_missing_profiles_and_files_are_told(tmp_path: Path) -> None:
    with pytest.raises(KeyfobHostError) as refused:
        load_profile("watch")
    assert refused.value.code == "cert.profile-unknown"
    assert "broker, ca, device" in refused.value.evidence
    with pytest.raises(KeyfobHostError) as refused:
        load_profile(tmp_path / "none.toml")
    assert refused.value.code == "file.missing"
    with pytest.raises(KeyfobHostError) as refused:
        load_profile(profile(tmp_path, "kind = \n"))
    assert refused.value.code == "toml.syntax"
