"""Offers judged by openssl, their delivery step by step, and who gets another certificate."""

from __future__ import annotations

import base64
import datetime
import hashlib
import json
import subprocess
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from keyfob_host.errors import KeyfobHostError
from keyfob_host.home import Home
from keyfob_host.pki.authority import Authority
from keyfob_host.pki.inventory_disk import open_inventory
from keyfob_host.pki.inventory_row import certificate_row
from keyfob_host.pki.request import read_request
from keyfob_host.rotation.delivery import Delivery
from keyfob_host.rotation.offer import anchor_files, certificate_files, make_offer
from keyfob_host.rotation.policy import Ledger, Policy, Refused, judge
from keyfob_host.rotation.state import BoardState, read_state

ID = "sensor-01"
NOW = datetime.datetime.now(datetime.timezone.utc)
DAY = datetime.timedelta(days=1)
FILES = {"cert.der": b"c" * 900, "ca.der": b"a" * 100}
KEY = ec.generate_private_key(ec.SECP256R1())


@pytest.mark.parametrize("kind", ["p256", "rsa2048"])
def test_openssl_verifies_an_offers_signature(tmp_path: Path, kind: str) -> None:
    key = KEY if kind == "p256" else rsa.generate_private_key(65537, 2048)
    offer = make_offer(ID, FILES, key, 5)
    head, manifest = offer.payload.split(b"\n", 1)
    word, signature = head.split(b" ")
    assert word == b"offer"
    fields = json.loads(manifest)
    assert fields == {
        "device_id": ID,
        "created_s": 5,
        "files": {name: [len(one), hashlib.sha256(one).hexdigest()] for name, one in FILES.items()},
    }
    (tmp_path / "signed").write_bytes(b"keyfob identity 1\n" + manifest)
    (tmp_path / "signature").write_bytes(base64.b64decode(signature))
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (tmp_path / "key.pem").write_bytes(public)
    done = subprocess.run(
        ["openssl", "dgst", "-sha256", "-verify", "key.pem", "-signature", "signature", "signed"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stdout.strip() == "Verified OK"


def test_an_offer_of_one_certificate_fits_an_esp8266() -> None:
    files = certificate_files(Authority.ephemeral().issue_device("x" * 64))
    assert len(make_offer("x" * 64, files, KEY, 1_795_000_000).payload) < 900


def test_what_is_no_ca_is_no_trust_anchor() -> None:
    device = Authority.ephemeral().issue_device(ID)
    with pytest.raises(KeyfobHostError, match=r"rotate\.not-a-ca"):
        anchor_files([device.cert])
    with pytest.raises(KeyfobHostError, match=r"rotate\.too-many"):
        anchor_files([Authority.ephemeral().cert] * 5)


def state(**fields: object) -> BoardState:
    told = {"slot": "a", "cert": "00" * 8, "created_s": 1, "message": 978, "chunk": 512, **fields}
    found = read_state(json.dumps(told).encode())
    assert found is not None
    return found


def test_a_delivery_sends_each_file_once_in_chunks_that_the_board_takes() -> None:
    offer = make_offer(ID, FILES, KEY, 5)
    delivery = Delivery(offer)
    assert delivery.next(state(), 0.0) == offer.payload
    had = dict.fromkeys(FILES, 0)
    got = dict.fromkeys(FILES, b"")
    while had != {name: len(content) for name, content in FILES.items()}:
        message = delivery.next(state(offer={"created_s": 5, "had": had}), 1.0)
        assert message is not None and len(message) <= 512
        head, data = message.split(b"\n", 1)
        word, created_s, name, offset = head.decode().split(" ")
        assert (word, created_s, int(offset)) == ("chunk", "5", had[name])
        got[name] += data
        had[name] += len(data)
    assert got == FILES
    assert delivery.next(state(todo="finish"), 2.0) is None
    shown = hashlib.sha256(FILES["cert.der"]).hexdigest()[:16]
    assert delivery.next(state(created_s=5, cert=shown, slot="b"), 3.0) is None
    assert delivery.is_committed


def test_states_of_before_do_not_make_a_delivery_offer_again_and_again() -> None:
    delivery = Delivery(make_offer(ID, FILES, KEY, 5))
    assert delivery.next(state(), 0.0)
    assert [delivery.next(state(), float(s)) for s in range(1, 19)] == [None] * 18
    assert delivery.next(state(), 21.0) == delivery.offer.payload


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"outcome": {"result": "refused", "created_s": 5, "code": "rotate.bad-signature",
                      "detail": "by none"}}, "rotate.refused"),
        ({"outcome": {"result": "rolled-back", "created_s": 5, "code": "tls.alert-unknown-ca",
                      "detail": "48"}}, "rotate.rolled-back"),
        ({"damaged": "store.hash-mismatch: x"}, "rotate.board-damaged"),
        ({"message": 200, "chunk": 200}, "rotate.offer-too-large"),
    ],
)  # fmt: skip
def test_what_a_board_refuses_is_told_with_cause_and_fix(
    fields: dict[str, object], code: str
) -> None:
    with pytest.raises(KeyfobHostError) as caught:
        Delivery(make_offer(ID, FILES, KEY, 5)).next(state(**fields), 0.0)
    assert caught.value.code == code and caught.value.fix


def test_outcomes_of_other_offers_and_of_chunks_too_late_are_passed_over() -> None:
    delivery = Delivery(make_offer(ID, FILES, KEY, 5))
    for created_s, code in ((4, "rotate.replayed"), (5, "rotate.no-offer"), (5, "rotate.busy")):
        outcome = {"result": "refused", "created_s": created_s, "code": code, "detail": ""}
        delivery.next(state(outcome=outcome), 0.0)


@pytest.mark.parametrize(
    "payload",
    [b"", b"[]", b"null", b"{", b"{}", b"\xff", b"[" * 5000, b'{"chunk":9,"message":9}',
     b'{"chunk":1e400,"message":900}', b'{"chunk":512,"message":978,"created_s":-1}',
     b'{"chunk":512,"message":978,"offer":[]}', b'{"chunk":512,"message":978,"offer":{"had":3}}',
     b'{"chunk":true,"message":978}', b"{" + b" " * 5000 + b"}"],
)  # fmt: skip
def test_a_state_that_makes_no_sense_is_none(payload: bytes) -> None:
    told = read_state(payload)
    assert told is None or (told.offer_s, told.had) == (0, {})


def test_a_state_moves_no_cursor() -> None:
    assert state(cert="\x1b[2J").cert == r"\x1b[2J"


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """A bench with one device whose certificate ends soon."""
    made = Home(tmp_path / "bench").ensure()
    authority = Authority.create(made.ca_dir)
    authority.issue_device(ID, not_before=NOW - 80 * DAY, not_after=NOW + 20 * DAY).write(
        made.certs_dir / "device" / ID
    )
    return made


def request(name: str = ID, key: ec.EllipticCurvePrivateKey = KEY) -> bytes:
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    builder = x509.CertificateSigningRequestBuilder().subject_name(subject)
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.DER)


def refused(home: Home, device_id: str, payload: bytes, policy: Policy | None = None) -> str:
    with pytest.raises(Refused) as caught:
        judge(home, policy or Policy(), device_id, payload)
    return str(caught.value)


def test_a_device_of_the_bench_whose_certificate_ends_soon_is_granted_another(home: Home) -> None:
    assert judge(home, Policy(), ID, request()).name == ID


def test_requests_are_refused_with_their_reason(home: Home) -> None:
    assert "no such device" in refused(home, "sensor-02", request("sensor-02"))
    assert "cert.request-wrong-name" in refused(home, ID, request("sensor-02"))
    assert "cert.request-unreadable" in refused(home, ID, b"nonsense")
    spoiled = bytearray(request())
    spoiled[-1] ^= 1
    assert "cert.request-" in refused(home, ID, bytes(spoiled))
    assert "20 days are left" in refused(home, ID, request(), Policy(within=5 * DAY)).replace(
        "19 days", "20 days"
    )
    for name in ("../" + ID, "keyfob-host", "", "a/b"):
        refused(home, name, request())


def test_a_revoked_device_is_granted_nothing(home: Home) -> None:
    inventory, _ = open_inventory(home)
    with inventory:
        (record,) = inventory.named(ID)
        with inventory.writing():
            inventory.revoke(record.issuer_key, record.serial, 1, "keyCompromise")
    assert "revoked (keyCompromise)" in refused(home, ID, request())


def test_a_key_whose_certificate_was_revoked_is_granted_no_other(home: Home) -> None:
    authority = Authority.load(home.ca_dir)
    wanted = read_request(request(), source="a test")
    leaked = authority.issue_from_request(wanted)
    inventory, _ = open_inventory(home)
    with inventory:
        with inventory.writing():
            inventory.add([certificate_row(leaked.cert, "device", issuer=authority.cert)])
        (record,) = [one for one in inventory.named(ID) if one.folder == ""]
        with inventory.writing():
            inventory.revoke(record.issuer_key, record.serial, 1, "keyCompromise")
    assert "cert.key-revoked" in refused(home, ID, request())


def test_so_many_a_day_and_no_more_also_behind_a_restart(home: Home) -> None:
    for _ in range(2):
        ledger = Ledger(home)
        ledger.check(Policy(), ID)
        ledger.note(ID)
    with pytest.raises(Refused, match="2 within a day"):
        Ledger(home).check(Policy(), ID)
    Ledger(home).check(Policy(), "sensor-02")
    (home.root / "renewer" / "ledger.json").write_text("[torn")
    Ledger(home).check(Policy(), ID)  # it limits, and proves nothing
