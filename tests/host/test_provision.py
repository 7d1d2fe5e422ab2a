"""Provisioning over a bare MicroPython."""

from __future__ import annotations

import base64
import hashlib
import json
import traceback
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from judges import refuses
from unix_board import UnixBoard

from keyfob_host.boards import load_kind
from keyfob_host.data import data_path
from keyfob_host.errors import KeyfobHostError
from keyfob_host.mpy import board_files
from keyfob_host.parts import left_out
from keyfob_host.pki.authority import Authority
from keyfob_host.pki.identity import Identity
from keyfob_host.provision.identity import slot_files
from keyfob_host.provision.provisioning import provision_files
from keyfob_host.provision.settings import Settings
from keyfob_host.sync import sync_files
from keyfob_host.transport import Transport, connect

FIRMWARE = data_path("firmware")
KIND = load_kind("virtual-esp32")
GIVEN = Settings(broker="broker.keyfob.test:18883", ntp=("ntp.keyfob.test:11123",))


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority.ephemeral()


@pytest.fixture(scope="module")
def identity(authority: Authority) -> Identity:
    return authority.issue_device("sensor-01")


@pytest.fixture
def has_firmware() -> bool:
    return False


@pytest.fixture
def unix_board(tmp_path: Path, has_firmware: bool) -> Iterator[UnixBoard]:
    sent = board_files(FIRMWARE, without=left_out(FIRMWARE, "mbedtls")) if has_firmware else []
    files = {file.path: file.data for file in sent}
    with UnixBoard(tmp_path, blocks=320, files=files) as board:
        yield board


@pytest.fixture(params=["mpremote", "ampy"])
def board(request: pytest.FixtureRequest, unix_board: UnixBoard) -> Iterator[Transport]:
    with connect(unix_board.port, request.param, soft_reset=False) as transport:
        yield transport


def _slot(identity: Identity, slot: str) -> dict[str, bytes]:
    return {f"/id/{slot}/{k}": v for k, v in slot_files(identity, "mbedtls").items()}


def test_the_board_holds_exactly_the_contracts_files(
    board: Transport, unix_board: UnixBoard, identity: Identity
) -> None:
    report = provision_files(board, KIND, identity, GIVEN)
    assert (report.device_id, report.slot, report.before) == ("sensor-01", "a", None)
    files = unix_board.files()
    assert sorted(files) == [
        "/id/a/ca.der", "/id/a/cert.der", "/id/a/key.der", "/id/a/manifest.json",
        "/id/active", "/keyfob.json",
    ]  # fmt: skip
    assert files["/id/active"] == b"a"
    assert files["/id/a/cert.der"] == identity.cert_der()
    assert files["/id/a/ca.der"] == identity.anchors_der()[0]
    assert files["/id/a/key.der"] == identity.key_der_for("mbedtls")
    manifest = json.loads(files["/id/a/manifest.json"])
    assert manifest["device_id"] == "sensor-01"
    assert manifest["files"] == {
        name: hashlib.sha256(files[f"/id/a/{name}"]).hexdigest()
        for name in ("ca.der", "cert.der", "key.der")
    }
    settings = json.loads(files["/keyfob.json"])
    assert settings["device_id"] == "sensor-01"
    assert settings["broker"] == {"host": "broker.keyfob.test", "port": 18883, "keepalive_s": 30}
    assert settings["wifi"] == {"ssid": "keyfob-bench", "password": "keyfob-bench-password"}
    assert settings["ntp"]["servers"] == ["ntp.keyfob.test:11123"]
    assert settings["limits"] == KIND.limits.as_dict()
    assert settings["tls"] == {"engine": "mbedtls"}


def test_identities_alternate_between_the_slots(
    board: Transport, unix_board: UnixBoard, authority: Authority
) -> None:
    one, two, three = (authority.issue_device("sensor-01") for _ in range(3))
    assert provision_files(board, KIND, one, GIVEN).slot == "a"
    assert provision_files(board, KIND, two, Settings()).slot == "b"  # the rest stays as it is
    files = unix_board.files()
    assert files["/id/active"] == b"b"
    assert {**_slot(one, "a"), **_slot(two, "b")}.items() <= files.items()
    report = provision_files(board, KIND, three, Settings())
    assert (report.before, report.slot) == ("b", "a")
    files = unix_board.files()
    assert files["/id/active"] == b"a"
    assert {**_slot(three, "a"), **_slot(two, "b")}.items() <= files.items()
    assert json.loads(files["/keyfob.json"])["broker"]["host"] == "broker.keyfob.test"


@pytest.mark.parametrize("damaged", ["cert.der", "manifest.json"])
def test_the_slot_that_a_damaged_one_is_replaced_by_is_left_alone(
    board: Transport, unix_board: UnixBoard, authority: Authority, damaged: str
) -> None:
    one, two, three = (authority.issue_device("sensor-01") for _ in range(3))
    provision_files(board, KIND, one, GIVEN)
    provision_files(board, KIND, two, Settings())
    board.write(f"/id/b/{damaged}", b"damaged")
    report = provision_files(board, KIND, three, Settings())
    assert (report.before, report.slot) == ("b", "b")
    files = unix_board.files()
    assert files["/id/active"] == b"b"
    assert {**_slot(one, "a"), **_slot(three, "b")}.items() <= files.items()


@pytest.mark.parametrize("stop_at", ["/id/b/ca.der", "/id/b/key.der", "manifest", "/id/active"])
def test_interrupted_before_the_switch_the_old_identity_stays(
    board: Transport, unix_board: UnixBoard, authority: Authority, stop_at: str
) -> None:
    old, new = authority.issue_device("sensor-01"), authority.issue_device("sensor-01")
    provision_files(board, KIND, old, GIVEN)
    settings = unix_board.files()["/keyfob.json"]

    def stop(text: str) -> None:
        if stop_at in text:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        provision_files(board, KIND, new, Settings(broker="other.test"), on_step=stop)
    files = unix_board.files()
    assert files["/id/active"] == b"a"
    assert _slot(old, "a").items() <= files.items()
    assert files["/keyfob.json"] == settings
    provision_files(board, KIND, new, Settings(broker="other.test"))
    files = unix_board.files()
    assert files["/id/active"] == b"b"
    assert _slot(new, "b").items() <= files.items()
    assert "/keyfob.json.new" not in files


def test_a_slot_that_held_a_longer_chain_keeps_nothing_of_it(
    board: Transport, unix_board: UnixBoard, identity: Identity
) -> None:
    longer = replace(identity, anchors=identity.anchors * 2, intermediates=identity.anchors)
    for given in (longer, identity, identity):
        provision_files(board, KIND, given, GIVEN)
    assert sorted(path for path in unix_board.files() if path.startswith("/id/a/")) == [
        "/id/a/ca.der", "/id/a/cert.der", "/id/a/key.der", "/id/a/manifest.json",
    ]  # fmt: skip


def test_a_dry_run_writes_nothing(
    board: Transport, unix_board: UnixBoard, identity: Identity
) -> None:
    report = provision_files(board, KIND, identity, GIVEN, dry_run=True)
    assert "would write 3 files" in report.summary()
    assert unix_board.files() == {}


def test_a_damaged_active_byte_and_settings_are_replaced(
    board: Transport, unix_board: UnixBoard, identity: Identity
) -> None:
    board.exec("import os\nos.mkdir('/id')")
    board.write("/id/active", b"\xff\xff")
    board.write("/keyfob.json", b'{"broker": {"ho')
    with refuses("provision.no-broker"):
        provision_files(board, KIND, identity, Settings())
    provision_files(board, KIND, identity, GIVEN)
    assert unix_board.files()["/id/active"] == b"a"


# In its flash from the start: over ampy a sync takes long.
with_firmware = pytest.mark.parametrize("has_firmware", [True], ids=["there"])


@with_firmware
def test_settings_are_judged_by_the_boards_own_firmware(
    board: Transport, unix_board: UnixBoard, identity: Identity
) -> None:
    provision_files(board, KIND, identity, GIVEN)
    before = unix_board.files()
    refused = Settings(extra={"broker.keepalive_s": 2})
    with refuses("provision.settings-refused") as caught:
        provision_files(board, KIND, identity, refused)
    assert caught.value.evidence.startswith("config.out-of-range: broker.keepalive_s: 2")
    assert unix_board.files() == before


@pytest.mark.parametrize(
    "has_firmware", [True, pytest.param(False, marks=pytest.mark.slow)], ids=["there", "sent"]
)
def test_the_boards_store_accepts_what_was_written(
    board: Transport, identity: Identity, has_firmware: bool
) -> None:
    if not has_firmware:
        sync_files(board, board_files(FIRMWARE, without=left_out(FIRMWARE, "mbedtls")))
    provision_files(board, KIND, identity, GIVEN)
    output = board.exec(
        "from keyfob import store\ns=store.load('sensor-01')\nprint(s.slot, s.cert_sha256())"
    )
    expected = hashlib.sha256(identity.cert_der()).hexdigest()[:16]
    assert output.decode().split() == ["a", expected]


@pytest.mark.parametrize("key_type", ["p256", "rsa2048"])
def test_micropythons_mbedtls_loads_the_key_as_written(
    board: Transport, authority: Authority, key_type: str
) -> None:
    identity = authority.issue_device("sensor-01", key_type=key_type)
    provision_files(board, KIND, identity, GIVEN)
    board.exec(
        "import tls\nc=tls.SSLContext(tls.PROTOCOL_TLS_CLIENT)\n"
        "r=lambda n:open('/id/a/'+n,'rb').read()\n"
        "c.load_cert_chain(r('cert.der'),r('key.der'))\nc.load_verify_locations(r('ca.der'))"
    )


def test_neither_key_nor_password_shows_when_provisioning_fails(
    board: Transport, identity: Identity, capfd: pytest.CaptureFixture[str]
) -> None:
    secret = "wifi-password-canary"
    key = identity.key_der_for("mbedtls")
    shown = ""
    settings = Settings(broker="b.test", wifi_ssid="net", wifi_password=secret)
    shown += repr(settings)
    for spoil in (
        "import os\nos.mkdir('/id')\nos.mkdir('/id/a')\nos.mkdir('/id/a/key.der')",
        "_kf_z=_kf_w=lambda s:1/0",
        "_kf_z=_kf_w=lambda s:None",
    ):
        board.write("/warm-up", b"")
        board.exec(spoil)
        with pytest.raises(KeyfobHostError) as caught:
            provision_files(board, KIND, identity, settings)
        shown += "".join(traceback.format_exception(caught.value)) + str(caught.value.as_dict())
    out, err = capfd.readouterr()
    shown += out + err
    assert secret not in shown
    for form in (key.hex(), base64.b64encode(key).decode(), repr(key)[2:-1]):
        assert not any(form[at : at + 12] in shown for at in range(0, len(form) - 12, 4))
