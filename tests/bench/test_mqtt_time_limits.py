"""No call outlives its time limit by more than a second, whatever the peer does.

MQTT in clear text behind a relay that falls silent, or lets a byte a second pass; the
limits are shortened to a second each. Those of TCP and TLS: `test_firmware_links.py`.
On the other hand a limit is for a peer that does nothing, and not for one that is slow.
"""

from __future__ import annotations

import shutil
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from mqtt_rig import HURRIED, Device, Host, Plain, leave_session, make_package

from keyfob_host.relay import Fault, TcpRelay

pytestmark = [
    pytest.mark.mosquitto,
    pytest.mark.skipif(shutil.which("mosquitto") is None, reason="mosquitto is not installed"),
]


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plain]:
    with Plain(tmp_path_factory.mktemp("broker")) as running:
        yield running


MOST_OVER_S = 1.0


@pytest.fixture(scope="module")
def hurried(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package with time limits of a second each."""
    # The system's buffer is that of a board: what is written has nearly been sent.
    small = ("sock.setblocking(False)", "sock.setsockopt(1, 7, 4096)\n    sock.setblocking(False)")
    return make_package(tmp_path_factory.mktemp("hurried"), *HURRIED, ("stream.py", *small))


@pytest.fixture
def relay(broker: Plain) -> Iterator[TcpRelay]:
    with TcpRelay(("127.0.0.1", broker.port)) as running:
        yield running


SILENCES = {
    "silent": Fault("stall"),
    "hears-nothing": Fault("stall", "up"),
    "says-nothing": Fault("stall", "down"),
    "a-byte-a-second": Fault("throttle", bytes_per_s=1),
}


@pytest.mark.parametrize("how", SILENCES)
def test_a_peer_that_does_not_answer_connect_is_given_up_in_time(
    hurried: Path, relay: TcpRelay, how: str
) -> None:
    relay.fail(SILENCES[how])
    started_s = time.monotonic()
    with Device(hurried, f"connect-{how}", relay.port, ["connected"]) as device:
        assert device.wait_event("error")["code"] == "mqtt.no-connack"
        assert 1.0 <= time.monotonic() - started_s <= 1.0 + MOST_OVER_S
        relay.clear()
        relay.cut()
        device.end()


@pytest.mark.parametrize("how", SILENCES)
def test_a_publish_ends_in_time_whatever_the_peer_does(
    hurried: Path, relay: TcpRelay, how: str
) -> None:
    topic = f"up/late-{how}"
    steps = [
        ["connected"], ["publish", topic, 0, 1, 1], ["sleep", 1_000],
        ["expect", "mqtt.publish-timeout", 500, topic], ["publish", topic, 1, 1, 1],
    ]  # fmt: skip
    with Device(hurried, f"late-{how}", relay.port, *steps) as device:
        device.wait_for("step 1 ")
        relay.fail(SILENCES[how])
        assert 500 <= device.step_ms(3) <= 500 + MOST_OVER_S * 1000
        waited_s = time.monotonic()
        assert device.wait_event("mqtt.down")["code"] in ("mqtt.no-puback", "mqtt.no-pingresp")
        assert time.monotonic() - waited_s <= 1.0 + MOST_OVER_S
        relay.clear()
        device.end()


@pytest.mark.parametrize("how", SILENCES)
def test_an_idle_link_that_is_dead_is_noticed_within_keep_alive(
    hurried: Path, relay: TcpRelay, how: str
) -> None:
    with Device(hurried, f"idle-{how}", relay.port, ["connected"], ["sleep", 60_000]) as device:
        device.wait_for("step 0 ")
        relay.fail(SILENCES[how])
        started_s = time.monotonic()
        assert device.wait_event("mqtt.down")["code"] == "mqtt.no-pingresp"
        # Three quarters of 5 s until the PINGREQ, a second for its answer.
        assert time.monotonic() - started_s <= 3.75 + 1.0 + MOST_OVER_S
        relay.clear()
        device.wait_event("mqtt.up", 2)


@pytest.mark.parametrize("direction", ["up", "down"])
def test_a_half_closed_link_is_a_closed_one(hurried: Path, relay: TcpRelay, direction: str) -> None:
    steps = [["connected"], ["sleep", 500], ["publish", f"up/half-{direction}", 0, 1, 1]]
    with Device(hurried, f"half-{direction}", relay.port, *steps) as device:
        device.wait_for("step 0 ")
        relay.fail(Fault("half-close", direction))
        assert device.wait_event("mqtt.down", limit_s=MOST_OVER_S)["code"] == "tls.closed"
        relay.clear()
        device.end()


@pytest.mark.parametrize("how", ["silent", "hears-nothing", "a-byte-a-second"])
def test_a_peer_that_takes_no_bytes_is_given_up_in_time(
    hurried: Path, relay: TcpRelay, how: str
) -> None:
    limits = {"tx_bytes": 65_536, "payload_bytes": 60_000}
    steps = [["connected"], ["bulk", "up/bulk", 300, 60_000], ["sleep", 60_000]]
    name = f"bulk-{how}"
    with Device(hurried, name, relay.port, *steps, limits=limits, keepalive_s=60) as device:
        device.wait_for("step 0 ")
        relay.fail(SILENCES[how])
        started_s = time.monotonic()
        assert device.wait_event("mqtt.down")["code"] == "tls.write-timeout"
        # It takes a while to fill the buffers of the system.
        assert time.monotonic() - started_s <= 1.0 + 2 * MOST_OVER_S


def test_a_peer_that_takes_no_bytes_of_what_is_sent_again_is_given_up_in_time(
    hurried: Path, narrow: TcpRelay
) -> None:
    # Sent again it is before the connection counts as one.
    narrow.fail(Fault("cut", "up", at_byte=100_000))
    steps = [["send", "up/again", 300_000]]
    with Device(hurried, "again", narrow.port, *steps, keepalive_s=60) as device:
        device.wait_event("mqtt.down")
        narrow.fail(Fault("stall", "up", at_byte=50_000))
        started_s = time.monotonic()
        while "tls.write-timeout" not in [error["code"] for error in device.events("error")]:
            assert time.monotonic() - started_s <= 1.0 + 2 * MOST_OVER_S, device.lines
            time.sleep(0.01)
        narrow.clear()
        device.end()


class NarrowRelay(TcpRelay):
    """Has buffers of few bytes, so that what was sent is soon there or is not sent yet."""

    def _listen(self) -> socket.socket:
        listener = super()._listen()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        return listener


@pytest.fixture
def narrow(broker: Plain) -> Iterator[TcpRelay]:
    with NarrowRelay(("127.0.0.1", broker.port)) as running:
        yield running


SLOW = Fault("throttle", bytes_per_s=128 << 10)


def test_a_large_payload_may_take_longer_than_its_acknowledgement(
    hurried: Path, narrow: TcpRelay
) -> None:
    narrow.fail(SLOW)
    with Device(hurried, "slow-up", narrow.port, ["send", "up/slow", 512 << 10]) as device:
        device.end()
        assert device.step_ms(0) > 3_000
        assert not device.events("mqtt.down")
        assert len(narrow.connections) == 1


def test_a_large_message_may_take_longer_than_a_keep_alive_period(
    hurried: Path, narrow: TcpRelay, broker: Plain
) -> None:
    leave_session(broker.port, "slow-down", "down/slow")
    with Host(broker.port, "none") as host:
        host.send("down/slow", bytes(900 << 10))
    narrow.fail(SLOW)
    steps = [["receive", "down/slow", 900 << 10]]
    with Device(hurried, "slow-down", narrow.port, *steps) as device:
        device.end()
        assert device.step_ms(0) > 5_000
        assert not device.events("mqtt.down")
        assert len(narrow.connections) == 1


def test_a_large_message_that_stops_coming_ends_in_time(
    hurried: Path, relay: TcpRelay, broker: Plain
) -> None:
    leave_session(broker.port, "stops", "down/stops")
    with Host(broker.port, "none") as host:
        host.send("down/stops", bytes(100_000))
    relay.fail(Fault("stall", "down", at_byte=50_000))
    started_s = time.monotonic()
    with Device(hurried, "stops", relay.port, ["receive", "down/stops", 100_000]) as device:
        assert device.wait_event("mqtt.down")["code"] == "mqtt.no-suback"  # it is behind
        assert time.monotonic() - started_s <= 1.0 + 2 * MOST_OVER_S
        relay.clear()
        device.end()
