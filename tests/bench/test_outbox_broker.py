"""Stored messages on the whole way, board to broker, with power cuts in between."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator

import pytest
from provisioned_rig import Rig, provisioned_board
from virtual_rig import log, wait_until

from keyfob_host.errors import KeyfobHostError
from keyfob_host.mqtt_host import HostClient

pytestmark = [pytest.mark.mosquitto, pytest.mark.timeout(1200)]
STRIDE = 17  # of the sample
TOPIC = "devices/sensor-01/stored"
APP = """
import asyncio, os
from keyfob.client import Client
from keyfob.events import emit
from keyfob.outbox import Outbox

async def run(config):
    box = Outbox(config["outbox"])
    life = "".join("%02x" % byte for byte in os.urandom(4))
    async with Client(config, box) as client:
        for number in range(6 if box.count < 30 else 0):
            qos = 1 + number % 2
            text = "%d-%s-%d" % (qos, life, number)
            payload = (text + " " * (number * 60)).encode()
            await client.publish("devices/sensor-01/stored", payload, qos, store=True)
            emit("app.stored", text=text)
            await asyncio.sleep_ms(15)
        while box.count:
            await asyncio.sleep_ms(10)
        emit("app.drained")
        while True:
            await asyncio.sleep(60)
"""


@pytest.fixture(params=[4, 5])
def rig(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    folder = tmp_path_factory.mktemp("stored")
    version = {"broker.version": request.param}
    files = {"/apps/storer.py": APP}
    with provisioned_board(folder, files, {"name": "storer"}, version) as made:
        yield made
        # mosquitto calls 3.1.1 protocol 2.
        assert f"as sensor-01 (p{5 if request.param == 5 else 2}," in made.broker.log()


def live_until_cut(rig: Rig, operation: int | None) -> bool:
    """One life of the board; False if its power was cut at that flash operation."""
    rig.virtual.power(False)
    seen = log(rig.virtual).count('"app.drained"')
    rig.virtual.flash_fault(operation)
    rig.virtual.power(True)

    def is_over() -> bool:
        drained = log(rig.virtual).count('"app.drained"') > seen
        return drained or rig.virtual.info()["state"] == "off"

    wait_until(is_over, lambda: log(rig.virtual)[-2000:])
    rig.virtual.flash_fault(None)
    return log(rig.virtual).count('"app.drained"') > seen


def stored(rig: Rig) -> set[str]:
    """What the board said that it had stored."""
    lines = log(rig.virtual).replace("\r", "").split("\n")[:-1]
    whole = [line for line in lines if '"app.stored"' in line and line.endswith("}")]
    return {json.loads(line[3:])["text"] for line in whole}


def delivered(host: HostClient) -> Counter[str]:
    """What arrived at the bench, and how often."""
    found: Counter[str] = Counter()
    while True:
        try:
            found[host.wait_message(TOPIC, timeout_s=1.0).payload.decode().strip()] += 1
        except KeyfobHostError:
            return found


def sweep(rig: Rig, stride: int) -> int:
    """Cut at every ``stride``-th flash operation of a life; how many cuts."""
    with rig.host() as host:
        host.subscribe(TOPIC, 1)
        operation, cuts = 1, 0
        while not live_until_cut(rig, operation):
            cuts += 1
            operation += stride
        assert live_until_cut(rig, None)
        found = delivered(host)
    lost = sorted(stored(rig) - found.keys())
    again = {text: times for text, times in found.items() if times > 1}
    print(
        f"{cuts} power cuts at every {stride}. flash operation: {len(found)} messages, "
        f"{len(lost)} lost, {len(again)} twice"
    )
    assert lost == []
    assert [text for text in again if text[0] == "2"] == [], "QoS 2 twice"
    assert sum(again.values()) - len(again) <= cuts
    return cuts


def test_power_cuts_lose_no_stored_message_and_double_none_of_qos_2(rig: Rig) -> None:
    assert sweep(rig, STRIDE) >= 3


@pytest.mark.slow
def test_a_power_cut_at_every_flash_operation_of_a_life_loses_none(rig: Rig) -> None:
    assert sweep(rig, 1) >= 3 * STRIDE
