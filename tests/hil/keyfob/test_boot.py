"""From erased flash to a running program, through resets and power cuts."""

from __future__ import annotations

import pytest

from keyfob_host.transport.files import hashes

pytestmark = pytest.mark.rung("firmware")


def test_boots_from_erased_flash_to_a_first_reading(board, host_client, case) -> None:
    case.criterion(
        "From erased flash the board is flashed, synced and provisioned, and publishes a reading."
    )
    board.erase()
    board.wait_rom_refusal()
    board.flash_and_sync()
    board.provision()
    for name in ("boot", "wifi.up", "clock.set", "store.loaded", "tls.up", "mqtt.up", "publish"):
        board.wait_event(name)
    reading = host_client.wait_message(f"devices/{board.device_id}/reading")
    assert b"temperature_c" in reading.payload


def test_survives_a_reset(board, broker, case) -> None:
    case.criterion("A reset of a connected board is followed by a connection.")
    board.connected()
    broker.mark()
    board.reset()
    board.wait_event("boot")
    board.wait_event("mqtt.up")
    broker.wait_log(f"New client connected from .* as {board.device_id} ")


def test_survives_two_quick_resets(board, broker, case) -> None:
    case.criterion("Two resets in a row leave one connection and no other.")
    board.connected()
    board.reset()
    board.reset()
    board.wait_event("boot")
    board.wait_event("mqtt.up")
    broker.wait_log(f"Sending CONNACK to {board.device_id} ")
    assert board.events("mqtt.down") == []
    assert broker.relay.live == 1


@pytest.mark.rung("store")
def test_keeps_identity_and_settings_when_power_is_cut(board, case) -> None:
    case.criterion(
        "A cut of the power changes no file, and the board connects with the identity that it had."
    )
    with board.repl() as repl:
        # Sync puts the packages into the file system or into a ROMFS.
        package = str(repl.eval("__import__('keyfob').__path__")).lstrip("/")
        settings = ["/keyfob.json", "/id/active", "/id/a/manifest.json"]
        paths = [*settings, "/main.py", f"/{package}/__init__.mpy", f"/{package}/client.mpy"]
        before = hashes(repl, paths)
    board.power(False)
    board.power(True)
    board.wait_event("boot")
    loaded = board.wait_event("store.loaded")
    assert loaded["cert"] == board.fingerprint()
    board.wait_event("mqtt.up")
    with board.repl() as repl:
        assert hashes(repl, paths) == before
    assert None not in before.values()


def test_says_which_firmware_boots_and_why(board, case) -> None:
    case.criterion("The board says with each start which firmware it has and why it started.")
    board.reset()
    boot = board.wait_event("boot")
    assert boot["version"]
    assert boot["cause"]
