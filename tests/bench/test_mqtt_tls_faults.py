"""MQTT under mutual TLS when the link fails: nothing lost, no QoS 2 twice, no hang.

`test_mqtt_faults.py` cuts MQTT in clear text at every byte. Here it is the firmware as it
stands, and what can be hit are records: each that carries the story is cut off before its
header, inside it and in the middle, in both directions. With mbedTLS each of the device's
writes is a record, so every one of its packets is hit.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from certificates import make_ca
from firmware_bench import DEVICE_ID
from mqtt_records import RecordRelay, TlsBroker, TlsDevice, Where, make_flash
from mqtt_rig import HURRIED, Host, leave_session

from keyfob_host.ntp import NtpServer
from keyfob_host.relay import Direction, Fault

pytestmark = [
    pytest.mark.mosquitto,
    pytest.mark.skipif(shutil.which("mosquitto") is None, reason="mosquitto is not installed"),
]
PLACES: tuple[Where, ...] = ("before", "header", "middle")
STORY_LIMIT_S = 30.0
_stories = 0


@dataclass
class Bench:
    flash: Path
    broker: TlsBroker
    ntp: NtpServer


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """``flash``: the firmware with time limits of a second."""
    ca = make_ca()
    folder = tmp_path_factory.mktemp("tls")
    flash = make_flash(folder / "flash", ca, *HURRIED)
    with TlsBroker(folder / "broker", ca) as broker, NtpServer() as ntp:
        yield Bench(flash, broker, ntp)


def tell_story(bench: Bench, relay: RecordRelay, version: int) -> TlsDevice:
    """Connect to a session with messages waiting, subscribe, publish at each QoS, receive.

    Payloads below 10 go at QoS 1, from 10 on at QoS 2. The fault of ``relay`` is over
    once it was met.
    """
    global _stories  # topics of its own for each
    _stories += 1
    up, down = f"up/{_stories}", f"down/{_stories}"
    leave_session(bench.broker.plain_port, DEVICE_ID, down, version)
    steps = [
        ["messages", down, 2], ["messages", "other", 1],
        ["publish", up, 0, 1, 1], ["publish", up, 10, 1, 2],
        ["window", up, 1, 2, 1, 2], ["window", up, 11, 2, 2, 2], ["got", 4],
    ]  # fmt: skip
    with Host(bench.broker.plain_port, up) as host:
        for number in (0, 1, 10, 11):
            host.publish(down, number, 1 + number // 10)
        with TlsDevice(bench.flash, relay.port, bench.ntp.port, *steps, version=version) as device:
            _clear_after_the_fault(relay, device)
            device.end(STORY_LIMIT_S)
            assert all(host.wait_for(up, range(3)).values())
            assert set(host.wait_for(up, range(10, 13)).values()) == {1}, device.lines
            got = device.got()
            assert set(got) == {"0", "1", "10", "11"}, device.lines
            assert got["10"] == got["11"] == 1, device.lines
            # Over a link that fails, never over one that was not verified.
            assert len(device.events("mqtt.up")) <= len(device.events("tls.up"))
        return device


def _clear_after_the_fault(relay: RecordRelay, device: TlsDevice) -> None:
    deadline = time.monotonic() + STORY_LIMIT_S
    while not relay.is_over:
        assert time.monotonic() < deadline, device.lines
        if device.starting("end"):
            break
        # A half that is closed, or a stall: until the device has given it up.
        if relay.was_hit and device.events("mqtt.down") + device.events("error"):
            break
        time.sleep(0.002)
    relay.clear()


def _relay(bench: Bench, *plan: Any) -> RecordRelay:
    relay = RecordRelay(("127.0.0.1", bench.broker.port))
    return relay.plan(*plan) if plan else relay


@pytest.mark.parametrize("version", [4, 5])
def test_the_story_without_a_fault_is_one_connection(bench: Bench, version: int) -> None:
    with _relay(bench) as relay:
        device = tell_story(bench, relay, version)
        assert len(relay.connections) == 1
        assert device.events("tls.up")[0]["version"] == "TLSv1.2"
        # Two exchanges of QoS 2 on top of CONNECT, SUBSCRIBE and two of QoS 1.
        assert relay.records("up") >= 10
        assert relay.records("down") >= 8


def _sweep(
    bench: Bench,
    fault: Fault,
    version: int,
    direction: Direction,
    places: tuple[Where, ...] = PLACES,
    stride: int = 1,
) -> int:
    """``fault`` at every ``stride``-th place until the story has no more; how many there were."""
    hits = at = 0
    while True:
        record, place = divmod(at, len(places))
        with _relay(bench, fault, direction, record, places[place]) as relay:
            tell_story(bench, relay, version)
            if not relay.was_hit:
                return hits
        hits += 1
        at += stride


@pytest.mark.parametrize(
    ("version", "direction"),
    [
        (4, "up"),
        (5, "down"),
        pytest.param(4, "down", marks=pytest.mark.slow),
        pytest.param(5, "up", marks=pytest.mark.slow),
    ],
)
def test_a_cut_at_a_record_loses_nothing_and_repeats_no_qos_2(
    bench: Bench, version: int, direction: Direction
) -> None:
    assert _sweep(bench, Fault("cut"), version, direction, stride=7) >= 3


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("direction", ["up", "down"])
@pytest.mark.parametrize("version", [4, 5])
def test_a_cut_at_any_record_loses_nothing_and_repeats_no_qos_2(
    bench: Bench, version: int, direction: Direction
) -> None:
    cuts = _sweep(bench, Fault("cut"), version, direction)
    print(f"{cuts} cuts, version {version}, {direction}")
    assert cuts >= 24


# What ends no connection by itself: the device must notice, within its limit of a second.
SILENT: dict[str, tuple[Fault, Direction, tuple[Where, ...]]] = {
    "half-close-down": (Fault("half-close", "down"), "down", ("before", "middle")),
    "stall": (Fault("stall"), "up", ("before", "middle")),
    "stall-up": (Fault("stall", "up"), "up", ("before", "middle")),
    "stall-down": (Fault("stall", "down"), "down", ("before", "middle")),
    "a-byte-a-second": (Fault("throttle", bytes_per_s=1), "down", ("before", "middle")),
}


@pytest.mark.parametrize("how", SILENT)
def test_a_link_that_fails_without_a_word_loses_nothing(bench: Bench, how: str) -> None:
    fault, direction, places = SILENT[how]
    with _relay(bench, fault, direction, 4, places[-1]) as relay:
        tell_story(bench, relay, 4)
        assert relay.was_hit


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("version", [4, 5])
@pytest.mark.parametrize("how", SILENT)
def test_a_link_that_fails_at_any_record_without_a_word_loses_nothing(
    bench: Bench, how: str, version: int
) -> None:
    fault, direction, places = SILENT[how]
    hits = _sweep(bench, fault, version, direction, places)
    print(f"{hits} times {how}, version {version}")
    assert hits >= 8 * len(places)


@pytest.mark.parametrize("where", ["before", "middle"])
def test_a_link_whose_way_up_was_closed_is_tried_again_soon(bench: Bench, where: Where) -> None:
    # OpenSSL answers an end of stream without close_notify with an alert, and then closes:
    # nothing is wrong with anybody's files, and the next connection would do.
    steps = [["connected"], ["publish", "up/closed", 0, 3, 1]]
    with (
        _relay(bench, Fault("half-close", "up"), "up", 2, where) as relay,
        TlsDevice(bench.flash, relay.port, bench.ntp.port, *steps, version=4) as device,
    ):
        error = device.wait_event("error")
        assert error["retry"] == "wait", error
        relay.clear()
        device.end()
