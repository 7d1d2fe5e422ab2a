"""What is revoked is renewed no more, what was just signed is revoked with its name, and
nobody is signed for without end.

The board here is a client with the device's own certificate that tells its state; the broker
is mosquitto.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from judges import needs_mosquitto, needs_openssl, strict_verdict
from keyfob_rig import Keyfob

from keyfob_host.commands.provision_key import _sign
from keyfob_host.errors import KeyfobHostError
from keyfob_host.home import Home
from keyfob_host.mqtt_host import HostClient, Message
from keyfob_host.pki.authority import Authority
from keyfob_host.pki.identity import Identity
from keyfob_host.pki.request import read_request
from keyfob_host.rotation.policy import Policy
from keyfob_host.rotation.renewer import Decision, Renewer

pytestmark = [*needs_mosquitto, needs_openssl]

ID = "sensor-01"
NAME = "broker.keyfob.test"
STATE = f"devices/{ID}/identity/state"


def state(cert: x509.Certificate, **more: Any) -> bytes:
    """As a board tells what it has."""
    told = {"slot": "a", "cert": cert.fingerprint(hashes.SHA256()).hex()[:16], "created_s": 1}
    return json.dumps({**told, "message": 4096, "chunk": 1024, **more}).encode()


def request() -> bytes:
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, ID)])
    key = ec.generate_private_key(ec.SECP256R1())
    builder = x509.CertificateSigningRequestBuilder().subject_name(name)
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


def present(keyfob: Keyfob) -> Identity:
    return Identity.read(keyfob.home / "certs" / "device" / ID)


@pytest.fixture
def with_device(with_ca: Keyfob) -> Keyfob:
    with_ca.json("cert", "device", ID, "--days", "20")
    return with_ca


@pytest.fixture
def told(with_device: Keyfob) -> Iterator[Keyfob]:
    """A broker that a board has told its state."""
    with_device.json("cert", "broker", NAME, "--san", "127.0.0.1")
    port = with_device.json("broker", "up", "--port", "0")["port"]
    certs = with_device.home / "certs"
    ca = with_device.home / "ca" / "ca.cert.pem"
    with HostClient("127.0.0.1", port, certs / "device" / ID, ca, NAME) as board:
        board.publish(STATE, state(present(with_device).cert), retain=True)
    yield with_device
    with_device.run("broker", "down")


def renewer(keyfob: Keyfob, decisions: list[Decision]) -> Renewer:
    authority = Authority.load(keyfob.home / "ca")
    policy = Policy(timedelta(days=30))
    return Renewer(Home(keyfob.home), authority, policy, decisions.append)


def unconnected(keyfob: Keyfob) -> HostClient:
    """A client that could send nothing."""
    device = keyfob.home / "certs" / "device" / ID
    return HostClient("127.0.0.1", 1, device, keyfob.home / "ca" / "ca.cert.pem", NAME)


def message(name: str, payload: bytes) -> Message:
    return Message(f"devices/{ID}/identity/{name}", payload, False)


def openssl_revoked(keyfob: Keyfob, cert: x509.Certificate, tmp_path: Path) -> bool:
    path = tmp_path / "judged.pem"
    path.write_bytes(cert.public_bytes(serialization.Encoding.PEM))
    crl = ("-crl_check", "-CRLfile", keyfob.home / "ca" / "crl.pem")
    return "revoked" in strict_verdict(keyfob.home / "ca" / "ca.cert.pem", path, *crl)


def test_a_renewer_ends_when_the_bench_signs_with_another_ca(with_device: Keyfob) -> None:
    decisions: list[Decision] = []
    work, client = renewer(with_device, decisions), unconnected(with_device)
    with_device.json("ca", "rollover", "begin", "--no-passphrase")
    work.take(client, message("request", request()))
    assert [one.what for one in decisions] == ["issued"]
    with_device.json("ca", "rollover", "switch")
    with pytest.raises(KeyfobHostError) as ended:
        work.take(client, message("request", request()))
    assert ended.value.code == "renewer.other-ca"
    assert len(decisions) == 1


def test_what_a_renewer_issued_is_revoked_with_the_name_and_delivered_no_more(
    with_device: Keyfob, tmp_path: Path
) -> None:
    decisions: list[Decision] = []
    work, client = renewer(with_device, decisions), unconnected(with_device)
    work.take(client, message("request", request()))
    assert [one.what for one in decisions] == ["issued"]
    waiting = with_device.home / "renewer" / "issued" / ID
    issued = x509.load_pem_x509_certificate((waiting / "cert.pem").read_bytes())
    assert sorted(with_device.states(ID)) == ["replaced", "valid"]
    assert len(with_device.json("cert", "revoke", ID)["revoked"]) == 2
    assert openssl_revoked(with_device, issued, tmp_path)
    work.take(client, message("state", state(present(with_device).cert)))
    assert [one.what for one in decisions] == ["issued", "failed"]
    assert "cert.revoked" in decisions[-1].why and not waiting.exists()


def test_a_device_that_asks_again_and_again_gets_two_a_day(with_device: Keyfob) -> None:
    decisions: list[Decision] = []
    work, client = renewer(with_device, decisions), unconnected(with_device)
    first = request()
    for payload in (first, first, request(), request(), request()):
        work.take(client, message("request", payload))
    assert [one.what for one in decisions] == ["issued", "issued", "refused", "refused"]
    assert "within a day" in decisions[-1].why
    again = renewer(with_device, decisions)
    again.take(client, message("request", request()))
    assert decisions[-1].what == "refused" and "within a day" in decisions[-1].why


def test_a_board_that_says_it_has_what_was_revoked_does_not_make_it_the_one_in_use(
    with_device: Keyfob,
) -> None:
    decisions: list[Decision] = []
    work, client = renewer(with_device, decisions), unconnected(with_device)
    work.take(client, message("request", request()))
    waiting = with_device.home / "renewer" / "issued" / ID
    issued = x509.load_pem_x509_certificate((waiting / "cert.pem").read_bytes())
    before = present(with_device).cert
    with_device.json("cert", "revoke", ID)
    work.take(client, message("state", state(issued)))
    assert decisions[-1].what == "failed"
    assert present(with_device).cert == before


def test_a_revoked_key_gets_no_certificate_by_rotation(told: Keyfob) -> None:
    told.json("cert", "revoke", ID)
    assert told.error("rotate", ID, "--dry-run")["code"] == "cert.key-revoked"
    refused = told.error("rotate", ID, "--limit-s", "1")
    assert refused["code"] == "cert.key-revoked" and ID in refused["evidence"]


def test_a_revoked_certificate_that_the_board_has_not_is_not_sent(told: Keyfob) -> None:
    told.json("cert", "renew", ID, "--keep-key")
    renewed = f"{present(told).cert.serial_number:x}"
    told.json("cert", "revoke", renewed)
    refused = told.error("rotate", ID, "--limit-s", "1")
    assert refused["code"] == "cert.revoked" and renewed in refused["evidence"]


def test_a_certificate_sent_to_a_board_that_never_answered_is_revoked_with_the_name(
    told: Keyfob,
) -> None:
    told.json("rotate", ID, "--dry-run")
    assert told.states(ID) == ["valid"]  # of what was only shown nothing is kept
    assert told.error("rotate", ID, "--limit-s", "1")["code"] == "rotate.timeout"
    assert sorted(told.states(ID)) == ["replaced", "valid"]
    assert len(told.json("cert", "revoke", ID)["revoked"]) == 2
    assert told.states(ID) == ["revoked", "revoked"]


def test_a_revoked_identity_is_not_provisioned(with_device: Keyfob) -> None:
    with_device.json("cert", "revoke", ID)
    serial = f"{present(with_device).cert.serial_number:x}"
    for identity in (ID, with_device.home / "certs" / "device" / ID):
        # Refused before the board is looked for: there is none.
        board = ("--board", "esp32", "--port", "/dev/none")
        refused = with_device.error("provision", *board, "--identity", identity)
        assert refused["code"] == "cert.revoked" and serial in refused["evidence"]


def test_a_boards_own_key_is_signed_for_in_the_inventory_first(with_ca: Keyfob) -> None:
    """The link may be cut before the certificate has a folder here."""
    wanted = read_request(request(), source="a test")
    issued = _sign(Home(with_ca.home), Authority.load(with_ca.home / "ca"), wanted)
    assert not (with_ca.home / "certs" / "device" / ID).exists()
    (revoked,) = with_ca.json("cert", "revoke", ID)["revoked"]
    assert revoked["serial"] == f"{issued.cert.serial_number:x}"
