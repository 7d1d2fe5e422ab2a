"""Every refusal of provisioning before a board is touched."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from judges import refuses

from keyfob_host.boards import BoardRef, load_kind
from keyfob_host.errors import ExitStatus, KeyfobHostError
from keyfob_host.home import Home
from keyfob_host.pki.authority import Authority
from keyfob_host.pki.identity import Identity
from keyfob_host.provision.identity import check_identity, manifest_text, slot_files
from keyfob_host.provision.provisioning import find_identity, provision_board
from keyfob_host.provision.settings import Settings, parse_set, settings_text, split_host_port

KIND = load_kind("virtual-esp32")
GIVEN = Settings(broker="broker.keyfob.test:18883", ntp=("ntp.keyfob.test:11123",))


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority.ephemeral()


@pytest.fixture(scope="module")
def identity(authority: Authority) -> Identity:
    return authority.issue_device("sensor-01")


def test_a_sound_identity_is_accepted(authority: Authority, identity: Identity) -> None:
    check_identity(identity, device_id="sensor-01")
    check_identity(authority.issue_device("sensor-01", key_type="rsa2048"))


def test_a_certificate_for_another_device_is_refused(identity: Identity) -> None:
    with refuses("provision.wrong-device") as caught:
        check_identity(identity, device_id="sensor-02")
    assert "CN sensor-01" in caught.value.evidence


def test_an_expired_certificate_is_refused(authority: Authority) -> None:
    now = datetime.now(timezone.utc)
    expired = authority.issue_device(
        "sensor-01", not_before=now - timedelta(days=3), not_after=now - timedelta(days=1)
    )
    with refuses("provision.cert-expired") as caught:
        check_identity(expired)
    assert caught.value.fix.startswith("keyfob cert device sensor-01")


def test_a_certificate_from_the_future_is_refused(authority: Authority) -> None:
    now = datetime.now(timezone.utc)
    early = authority.issue_device(
        "sensor-01", not_before=now + timedelta(days=1), not_after=now + timedelta(days=3)
    )
    with refuses("provision.cert-not-yet-valid"):
        check_identity(early)


def test_a_servers_certificate_is_refused(authority: Authority) -> None:
    with refuses("provision.wrong-usage") as caught:
        check_identity(authority.issue_device("sensor-01", eku=["serverAuth"]))
    assert "serverAuth" in caught.value.evidence


def test_a_certificate_of_another_authority_is_refused(identity: Identity) -> None:
    other = Authority.ephemeral("Other CA")
    stray = replace(identity, anchors=(other.cert,))
    with refuses("provision.chain-broken"):
        check_identity(stray)


def test_a_certificate_signed_by_one_that_is_no_ca_is_refused(
    authority: Authority, identity: Identity
) -> None:
    forged = Authority(cert=identity.cert, key=identity.key).issue_device("sensor-02")
    stray = replace(forged, anchors=authority_certs(authority), intermediates=(identity.cert,))
    with refuses("provision.chain-broken"):
        check_identity(stray)


def _self_made(ca: bool, signs: bool) -> Identity:
    """As ``openssl req -x509`` makes one: its own issuer."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "sensor-01")])
    now = datetime.now(timezone.utc)
    usage = x509.KeyUsage(signs, False, False, False, True, ca, False, False, False)
    cert = (
        x509.CertificateBuilder(name, name, key.public_key(), 5, now, now + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca, None), True)
        .add_extension(usage, True)
        .sign(key, hashes.SHA256())
    )
    return Identity(cert=cert, key=key, anchors=(cert,))


@pytest.mark.parametrize(
    ("ca", "signs", "code"),
    [
        (True, True, "provision.is-ca"),
        (False, False, "provision.wrong-usage"),
        (False, True, "provision.bad-anchor"),
    ],
)
def test_a_certificate_that_the_board_would_refuse_is_refused(
    ca: bool, signs: bool, code: str
) -> None:
    with refuses(code) as caught:
        check_identity(_self_made(ca, signs))
    assert caught.value.evidence and caught.value.fix


def test_a_chain_out_of_order_is_refused(authority: Authority, identity: Identity) -> None:
    turned = replace(identity, intermediates=(authority.cert, identity.cert))
    with refuses("provision.chain-broken") as caught:
        check_identity(turned)
    assert "in order" in caught.value.cause


def authority_certs(authority: Authority) -> tuple[Any, ...]:
    return (authority.cert,)


def test_a_key_that_the_boards_engine_cannot_use_is_refused(identity: Identity) -> None:
    odd = replace(identity, key=ec.generate_private_key(ec.SECP384R1()))
    with refuses("cert.key-type-not-for-engine"):
        slot_files(odd, "mbedtls")


def test_a_key_of_another_certificate_is_refused(tmp_path: Path, authority: Authority) -> None:
    authority.issue_device("sensor-01").write(tmp_path / "one")
    authority.issue_device("sensor-01").write(tmp_path / "two")
    (tmp_path / "one" / "key.pem").write_bytes((tmp_path / "two" / "key.pem").read_bytes())
    with refuses("cert.key-mismatch"):
        Identity.read(tmp_path / "one")


def test_more_certificates_than_a_board_keeps_are_refused(identity: Identity) -> None:
    many = replace(identity, anchors=identity.anchors * 5)
    with refuses("provision.chain-too-long"):
        slot_files(many, "mbedtls")


def test_the_manifest_fits_what_the_board_reads() -> None:
    names = [f"{stem}{n or ''}.der" for stem in ("ca", "cert") for n in range(4)] + ["key.der"]
    assert len(manifest_text("d" * 64, 1 << 32, dict.fromkeys(names, "f" * 64))) < 2048


@pytest.mark.parametrize(
    ("settings", "code"),
    [
        (Settings(), "provision.no-broker"),
        (Settings(broker="mqtts://broker.test"), "provision.bad-value"),
        (Settings(broker="broker.test:0"), "provision.bad-value"),
        (Settings(broker="broker.test:99999"), "provision.bad-value"),
        (Settings(broker=":8883"), "provision.bad-value"),
        (Settings(broker="b", ntp=("a b",)), "provision.bad-value"),
        (Settings(broker="b", wifi_ssid="x" * 33), "provision.bad-value"),
        (Settings(broker="b", wifi_ssid="x", wifi_password="short"), "provision.bad-value"),
        (Settings(broker="b", extra={"tls.verify": False}), "provision.unknown-setting"),
        (Settings(broker="b", extra={"wifi.password": "12345678"}), "provision.secret-in-argv"),
        (Settings(broker="b", extra={"app.text": "x" * 3000}), "provision.settings-too-large"),
    ],
)
def test_settings_that_cannot_work_are_refused(settings: Settings, code: str) -> None:
    with refuses(code) as caught:
        settings_text(settings, KIND, "sensor-01", {})
    assert "short" not in caught.value.evidence


@pytest.mark.parametrize("name", ["esp8266", "virtual-esp8266"])
@pytest.mark.parametrize("engine", ["mbedtls", "axtls", None])
def test_an_engine_that_verifies_nobody_is_refused(name: str, engine: str | None) -> None:
    given = Settings(broker="b", wifi_ssid="x", extra={"tls.engine": engine})
    with refuses("provision.verifies-nobody") as caught:
        settings_text(given, load_kind(name), "sensor-01", {})
    assert caught.value.status == ExitStatus.USAGE
    # What a hand wrote on the board does not stay there either.
    present = {"tls": {"engine": engine}}
    text = settings_text(replace(given, extra={}), load_kind(name), "sensor-01", present)
    assert json.loads(text)["tls"]["engine"] == "keyfob"


def test_a_real_board_needs_a_network_once(identity: Identity) -> None:
    kind = load_kind("esp32")
    with refuses("provision.no-wifi"):
        settings_text(GIVEN, kind, "sensor-01", {})
    given = Settings(broker="b.test", wifi_ssid="net", wifi_password="12345678")
    first = json.loads(settings_text(given, kind, "sensor-01", {}))
    again = json.loads(settings_text(Settings(), kind, "sensor-01", first))
    assert again["wifi"] == {"ssid": "net", "password": "12345678"}
    assert again["broker"] == first["broker"]
    assert again["ntp"]["servers"] == ["pool.ntp.org", "time.cloudflare.com"]


def test_host_and_port_are_told_apart() -> None:
    assert split_host_port("broker.test", 8883, "--broker") == ("broker.test", 8883)
    assert split_host_port("192.0.2.7:1", 8883, "--broker") == ("192.0.2.7", 1)
    assert split_host_port("[2001:db8::1]:1883", 8883, "--broker") == ("2001:db8::1", 1883)


def test_set_takes_json_and_text() -> None:
    assert parse_set(["app.period_s=2", "app.name=sensor", "app.list=[1]"]) == {
        "app.period_s": 2, "app.name": "sensor", "app.list": [1],
    }  # fmt: skip
    with refuses("provision.bad-value"):
        parse_set(["period_s"])


def test_an_identity_is_named_or_is_a_folder(tmp_path: Path) -> None:
    home = Home(tmp_path)
    named = find_identity(home, "sensor-01")
    assert named == (tmp_path / "certs" / "device" / "sensor-01", "sensor-01")
    assert find_identity(home, "./here") == (Path("here"), None)


def test_a_key_that_the_kind_cannot_sign_with_is_refused_before_the_board_is_touched(
    authority: Authority,
) -> None:
    kind = load_kind("virtual-esp8266")
    large = authority.issue_device("sensor-01", key_type="rsa2048")
    with pytest.raises(KeyfobHostError) as refused:
        provision_board(BoardRef(kind, "/dev/null", "nowhere"), large, Settings())
    assert refused.value.code == "provision.key-not-for-board"
    assert "rsa2048" in str(refused.value.evidence) and "p256" in str(refused.value.fix)
