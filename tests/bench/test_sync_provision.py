"""``keyfob sync`` and ``keyfob provision`` on a virtual board, from the command line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from provision_bench import board_files, powered_board

from keyfob_host.boards import BoardRef
from keyfob_host.errors import ExitStatus, KeyfobHostError
from keyfob_host.pki.authority import Authority
from keyfob_host.pki.inventory_disk import open_inventory
from keyfob_host.provision.identity import slot_files
from keyfob_host.provision.provisioning import Settings, provision_board
from keyfob_host.transport import prompt

BROKER = ("--broker", "broker.keyfob.test:18883", "--ntp", "ntp.keyfob.test:11123")


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority.ephemeral()


@pytest.fixture(scope="module")
def ref(tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> Iterator[BoardRef]:
    with powered_board(tmp_path_factory.mktemp("board")) as board:
        assert board.virtual is not None
        devices = board.virtual.home.certs_dir / "device"
        authority.issue_device("sensor-01").write(devices / "sensor-01")
        yield board


def _keyfob(ref: BoardRef, *arguments: str) -> tuple[int, dict[str, Any], str]:
    """Exit status, the JSON document, and everything printed."""
    assert ref.virtual is not None
    run = subprocess.run(
        [sys.executable, "-m", "keyfob_host", "--json", *arguments],
        env={**os.environ, "KEYFOB_HOME": str(ref.virtual.home.root)},
        capture_output=True, stdin=subprocess.DEVNULL, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert "Traceback" not in run.stderr
    return run.returncode, json.loads(run.stdout), run.stdout + run.stderr


@pytest.mark.parametrize("via", ["mpremote", "ampy"])
def test_sync_twice_sends_once(ref: BoardRef, via: str, tmp_path: Path) -> None:
    (tmp_path / "pack").mkdir()
    (tmp_path / "main.py").write_text(f"print({via!r})\n")
    (tmp_path / "pack" / "__init__.py").write_text(f"VIA = {via!r}\n")
    status, first, _ = _keyfob(ref, "sync", "--source", str(tmp_path), "--via", via)
    assert (status, sorted(first["sent"])) == (0, ["/main.py", "/pack/__init__.mpy"])
    status, second, _ = _keyfob(ref, "sync", "--source", str(tmp_path), "--via", via)
    assert (status, second["sent"]) == (0, {})
    assert board_files(ref)["/main.py"] == f"print({via!r})\n".encode()


def test_the_firmware_and_an_identity_reach_the_flash(ref: BoardRef, authority: Authority) -> None:
    assert _keyfob(ref, "sync")[0] == 0
    status, report, output = _keyfob(ref, "provision", "--identity", "sensor-01", *BROKER)
    assert status == 0, output
    assert report["device_id"] == "sensor-01"
    files = board_files(ref)
    slot = files["/id/active"].decode()
    assert slot == report["slot"]
    manifest = json.loads(files[f"/id/{slot}/manifest.json"])
    assert manifest["device_id"] == "sensor-01"
    assert manifest["files"] == report["sha256"]
    assert files[f"/id/{slot}/ca.der"] == authority.cert_der()
    assert json.loads(files["/keyfob.json"])["wifi"]["ssid"] == "keyfob-bench"
    assert not [path for path in files if path.endswith(".new")]
    assert ref.virtual is not None
    inventory, _ = open_inventory(ref.virtual.home)
    with inventory:
        (record,) = inventory.named("sensor-01")
    assert record.board == ref.name


def test_after_provisioning_the_board_runs_its_program(ref: BoardRef) -> None:
    assert ref.virtual is not None
    assert _keyfob(ref, "sync")[0] == 0
    log = Path(ref.virtual.info()["log"])
    seen = log.stat().st_size
    assert _keyfob(ref, "provision", "--identity", "sensor-01", *BROKER)[0] == 0
    deadline = time.monotonic() + 10
    while b'"ev":"boot"' not in log.read_bytes()[seen:] and time.monotonic() < deadline:
        time.sleep(0.05)
    assert b'"ev":"boot"' in log.read_bytes()[seen:]


def test_a_dry_run_leaves_the_flash_as_it_is(ref: BoardRef) -> None:
    before = board_files(ref)
    status, report, _ = _keyfob(
        ref, "provision", "--identity", "sensor-01", "--dry-run", "--no-reset", *BROKER
    )
    assert (status, report["dry_run"]) == (0, True)
    after = board_files(ref)
    assert {k: v for k, v in after.items() if k != "/clock"} == {
        k: v for k, v in before.items() if k != "/clock"
    }


def test_power_cut_at_any_write_leaves_the_old_identity_or_the_new_one(
    ref: BoardRef, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert ref.virtual is not None
    # A dead board is given up after 10 s; here it is known to be dead.
    read_until = prompt.read_until
    monkeypatch.setattr(
        prompt,
        "read_until",
        lambda port, ending, _: read_until(port, ending, time.monotonic() + 1.0),
    )
    monkeypatch.setattr(prompt, "READ_TIMEOUT_S", 1.0)
    settings = Settings(broker="broker.keyfob.test:18883")
    old = authority.issue_device("sensor-01")
    provision_board(ref, old, settings)
    cuts = 0
    for operations in (1, 4, 8, 12, 16, 20, 24, 28, 40):
        new = authority.issue_device("sensor-01")
        ref.virtual.flash_fault(operations)
        try:
            provision_board(ref, new, settings)
        except KeyfobHostError as error:
            assert error.code in ("board.connection-lost", "board.no-answer", "board.not-running")
            cuts += 1
        ref.virtual.flash_fault(None)
        files = board_files(ref)
        slot = files["/id/active"].decode()
        held = {name: files.get(f"/id/{slot}/{name}") for name in slot_files(new, "mbedtls")}
        assert held in (slot_files(old, "mbedtls"), slot_files(new, "mbedtls"))
        if held == slot_files(new, "mbedtls"):
            old = new
    assert cuts >= 4


@pytest.mark.parametrize(
    ("arguments", "code", "exit_status"),
    [
        (("--identity", "nobody"), "cert.missing", ExitStatus.IDENTITY),
        (("--identity", "./nowhere"), "cert.missing", ExitStatus.IDENTITY),
        (("--identity", "sensor-01", "--set", "tls.verify=0"), "provision.unknown-setting", 2),
        (("--identity", "sensor-01", "--set", "nonsense"), "provision.bad-value", 2),
        (("--identity", "sensor-01", "--wifi-ssid", "x"), "provision.no-wifi-password", 2),
        (
            ("--identity", "sensor-01", "--wifi-ssid", "x", "--wifi-password-file", "/missing"),
            "file.missing",
            ExitStatus.INPUT,
        ),
        (("--identity", "sensor-01", "--board", "esp32"), "port.not-given", 2),
        (
            ("--identity", "sensor-01", "--board", "esp32", "--port", "/dev/ttyNone"),
            "port.missing",
            ExitStatus.HOST,
        ),
        (("--identity", "sensor-01", "--name", "other"), "board.not-up", ExitStatus.BOARD),
    ],
)
def test_bad_input_gives_one_error(
    ref: BoardRef, arguments: tuple[str, ...], code: str, exit_status: int
) -> None:
    status, document, output = _keyfob(ref, "provision", *arguments, *BROKER)
    assert (document["error"]["code"], status) == (code, int(exit_status))
    assert document["error"]["fix"]
    assert "Traceback" not in output


def test_a_password_file_that_others_can_read_is_refused(ref: BoardRef, tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("a-secret-password\n")
    file.chmod(0o644)
    given = ("--wifi-ssid", "net", "--wifi-password-file", str(file))
    _, document, output = _keyfob(ref, "provision", "--identity", "sensor-01", *given, *BROKER)
    assert document["error"]["code"] == "provision.password-exposed"
    assert "a-secret-password" not in output


def test_a_truncated_certificate_is_refused(
    ref: BoardRef, authority: Authority, tmp_path: Path
) -> None:
    folder = authority.issue_device("sensor-09").write(tmp_path / "sensor-09")
    whole = (folder / "cert.pem").read_bytes()
    (folder / "cert.pem").write_bytes(whole[: len(whole) // 2])
    status, document, _ = _keyfob(ref, "provision", "--identity", str(folder), *BROKER)
    assert (status, document["error"]["code"]) == (ExitStatus.IDENTITY, "cert.unreadable")
