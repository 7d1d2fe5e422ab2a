"""Stored messages under MQTT 5.0: cut links, dead devices, expired sessions, refusals.

The device is a process, its outbox a folder; killing the process is a power cut between
two flash operations (`test_outbox_broker.py` and `test_outbox_power.py` cut inside them).
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from mqtt_rig import Device, Host, Plain, make_package
from mqtt_wire import FIRST_STORED_ID, WireRelay, breaches

from keyfob_host.relay import Direction, Fault

pytestmark = [
    pytest.mark.mosquitto,
    pytest.mark.skipif(shutil.which("mosquitto") is None, reason="mosquitto is not installed"),
]
NOBODY = 9  # a port that nothing listens on
SAMPLE_STRIDES = {"up": 97, "down": 23}
LIMIT_S = 20.0


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_package(tmp_path_factory.mktemp("package"))


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plain]:
    with Plain(tmp_path_factory.mktemp("broker")) as running:
        yield running


class Lives:
    """A device that stores three messages of each QoS, and is killed on the way.

    Numbers below 10 are of QoS 1, from 10 on of QoS 2.
    """

    def __init__(self, package: Path, broker: Plain, name: str, folder: Path, **how: int) -> None:
        self._package, self._broker, self._name, self._folder = package, broker, name, folder
        self._how = {"version": 5, **how}
        self.up = f"stored/{name}"

    def device(self, port: int, *steps: list) -> Device:
        return Device(self._package, self._name, port, *steps, outbox=self._folder, **self._how)

    def run(self, relay: WireRelay, *, is_killed: bool, pause_s: float = 0.0) -> Host:
        """The link is cut where ``relay`` says. ``pause_s``: so long after it is the next life.

        What the host has seen.
        """
        store = [["store", self.up, 0, 3, 1], ["store", self.up, 10, 3, 2]]
        with Host(self._broker.port, self.up, version=5) as host:
            with self.device(relay.port, *store, ["drained"]) as device:
                device.wait_for("step 1 ")
                deadline = time.monotonic() + LIMIT_S
                while not (relay.connections and not relay.connections[0].alive):
                    assert time.monotonic() < deadline, device.lines
                    if device.starting("end"):
                        break
                    time.sleep(0.001)
                if not is_killed:
                    relay.clear()
                    device.end(LIMIT_S)
            if is_killed:
                time.sleep(pause_s)
                relay.clear()
                with self.device(relay.port, ["drained"]) as device:
                    device.end(LIMIT_S)
            self.qos_1 = host.wait_for(self.up, range(3))
            self.qos_2 = host.wait_for(self.up, range(10, 13))
            return host


def _sweep(
    package: Path,
    broker: Plain,
    folder: Path,
    direction: Direction,
    stride: int,
    *,
    is_killed: bool,
) -> int:
    """Cut at every ``stride``-th byte until the story is shorter; how many cuts there were."""
    cuts = at_byte = 0
    while True:
        with WireRelay(("127.0.0.1", broker.port)) as relay:
            relay.fail(Fault("cut", direction, at_byte=at_byte))
            name = f"box-{direction}-{at_byte}-{int(is_killed)}"
            lives = Lives(package, broker, name, folder / name)
            lives.run(relay, is_killed=is_killed)
            assert set(lives.qos_2.values()) == {1}, f"QoS 2 twice, cut at {at_byte}"
            assert sum(lives.qos_1.values()) <= 4, "more than the one on its way came twice"
            assert not (found := breaches(relay.packets)), "\n".join(found)
            used = {one.packet_id for one in relay.publishes(lives.up)}
            assert min(used) >= FIRST_STORED_ID
            if relay.connections[0].passed[direction] < at_byte:
                return cuts
        cuts += 1
        at_byte += stride


@pytest.mark.parametrize("is_killed", [False, True], ids=["reconnects", "restarts"])
@pytest.mark.parametrize("direction", ["up", "down"])
def test_a_cut_loses_no_stored_message_and_doubles_none_of_qos_2(
    package: Path, broker: Plain, tmp_path: Path, direction: Direction, is_killed: bool
) -> None:
    assert (
        _sweep(package, broker, tmp_path, direction, SAMPLE_STRIDES[direction], is_killed=is_killed)
        >= 2
    )


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("is_killed", [False, True], ids=["reconnects", "restarts"])
@pytest.mark.parametrize("direction", ["up", "down"])
def test_a_cut_at_any_byte_loses_no_stored_message_and_doubles_none_of_qos_2(
    package: Path, broker: Plain, tmp_path: Path, direction: Direction, is_killed: bool
) -> None:
    cuts = _sweep(package, broker, tmp_path, direction, 1, is_killed=is_killed)
    print(f"{cuts} cuts, {direction}, {'restarts' if is_killed else 'reconnects'}")
    assert cuts >= 40


EVERY_DAY = (6, 18)  # a PUBACK that is torn, and a PUBREC that arrived


@pytest.mark.parametrize(
    "at_byte",
    [
        pytest.param(at_byte, marks=() if at_byte in EVERY_DAY else pytest.mark.slow)
        for at_byte in range(0, 36, 2)
    ],
)
def test_an_expired_session_loses_no_stored_message(
    package: Path, broker: Plain, tmp_path: Path, at_byte: int
) -> None:
    # The broker has forgotten everything when the device is back. What it took for good
    # (PUBREC was handed on) must not be sent as new; what it may not have had must be.
    name = f"expired-{at_byte}"
    with WireRelay(("127.0.0.1", broker.port)) as relay:
        connack_bytes = _connack_bytes(package, broker, tmp_path)
        relay.fail(Fault("cut", "down", at_byte=connack_bytes + at_byte))
        lives = Lives(package, broker, name, tmp_path / name, session_expiry_s=1)
        lives.run(relay, is_killed=True, pause_s=2.5)
        connacks = [one for one in relay.packets if one.kind == 2]
        assert len(connacks) > 1 and not connacks[-1].session_present
        # Section 4.1.0: with its session, QoS 2 of the one message on its way is gone too.
        assert sum(lives.qos_1.values()) + sum(lives.qos_2.values()) <= 7
        assert not (found := breaches(relay.packets)), "\n".join(found)


def _connack_bytes(package: Path, broker: Plain, folder: Path) -> int:
    with (
        WireRelay(("127.0.0.1", broker.port)) as relay,
        Device(package, "size", relay.port, ["connected"], version=5, session_expiry_s=1) as device,
    ):
        device.wait_for("step 0 ")
        head = relay.connections[0].head["down"]
        return 2 + head[1]


def test_what_the_broker_refuses_is_told_and_holds_up_nothing(
    package: Path, tmp_path: Path
) -> None:
    (tmp_path / "acl").write_text("topic readwrite allowed/#\ntopic readwrite devices/#\n")
    steps = [
        ["store", "allowed/a", 0, 1, 1], ["store", "forbidden/a", 1, 1, 1],
        ["store", "forbidden/a", 2, 1, 2], ["store", "allowed/a", 3, 1, 2], ["drained"],
    ]  # fmt: skip
    with (
        Plain(tmp_path / "broker", f"acl_file {tmp_path}/acl") as broker,
        Host(broker.port, "allowed/#", version=5) as host,
        Device(
            package, "refused", broker.port, *steps, version=5, outbox=tmp_path / "outbox"
        ) as device,
    ):
        device.end()
        assert host.wait_for("allowed/a", range(0, 4, 3)) == {0: 1, 3: 1}
        told = [error for error in device.events("error") if error["retry"] == "stop"]
        assert [error["code"] for error in told] == ["mqtt.not-authorized"] * 2
        assert all("forbidden/a" in error["detail"] for error in told)


def test_a_broker_that_refuses_the_device_costs_no_stored_message(
    package: Path, tmp_path: Path
) -> None:
    store = [["store", "up/refused", 0, 3, 1], ["store", "up/refused", 10, 3, 2]]
    box = {"version": 5, "outbox": tmp_path / "outbox"}
    (tmp_path / "users").touch()
    users = f"password_file {tmp_path}/users"
    with (
        Plain(tmp_path / "closed", "allow_anonymous false", users) as broker,
        Device(package, "outsider", broker.port, *store, ["drained"], **box) as device,
    ):
        error = device.wait_event("error")
        assert (error["code"], error["retry"]) == ("mqtt.not-authorized", "stop")
        assert "CONNACK: reason code 0x87" in error["detail"]
        device.wait_for("step 1 ")  # it stores on, all the same
    with (
        Plain(tmp_path / "open") as broker,
        Host(broker.port, "up/#", version=5) as host,
        Device(package, "outsider", broker.port, ["drained"], **box) as device,
    ):
        device.end()
        assert set(host.wait_for("up/refused", range(3)).values()) == {1}
        assert set(host.wait_for("up/refused", range(10, 13)).values()) == {1}


LONG = "up/" + "x" * 200
# What is beyond the broker's limits, which its CONNACK says, or by now beyond the
# device's own: (code, version, line of the broker's, limits of the device, topic, QoS).
BEYOND = {
    "packet-too-large": ("mqtt.packet-too-large", 5, "max_packet_size 180", {}, LONG, 1),
    "qos-not-supported": ("mqtt.qos-not-supported", 5, "max_qos 1", {}, "up/qos", 2),
    "buffer-too-small": (
        "mqtt.too-large", 4, "", {"tx_bytes": 180, "payload_bytes": 64}, LONG, 1,
    ),
}  # fmt: skip


def _beyond(package: Path, folder: Path, case: str, *, is_restarted: bool) -> None:
    """The first of three stored messages can never be sent: told, and the others arrive."""
    code, version, line, limits, topic, qos = BEYOND[case]
    steps = [["store", topic, 0, 1, qos], ["store", "up/behind", 1, 2, 1]]
    box = {"version": version, "outbox": folder / "outbox"}
    if is_restarted:
        with Device(package, "beyond", NOBODY, *steps, **box) as device:
            device.wait_for("step 1 ")
        steps = []
    with (
        Plain(folder / "broker", line) as broker,
        Host(broker.port, "up/#") as host,
        Device(
            package, "beyond", broker.port, *steps, ["drained"], limits=limits, **box
        ) as device,
    ):  # fmt: skip
        assert device.wait_event("error")["code"] == code
        assert not device.events("mqtt.down"), "it ends every connection"
        device.end()
        assert host.wait_for("up/behind", range(1, 3)) == {1: 1, 2: 1}
        assert len(device.events("error")) == 1


@pytest.mark.parametrize("case", ["packet-too-large", "qos-not-supported"])
def test_a_stored_message_that_this_broker_never_takes_is_told(
    package: Path, tmp_path: Path, case: str
) -> None:
    _beyond(package, tmp_path, case, is_restarted=False)


@pytest.mark.parametrize("case", BEYOND)
def test_a_message_of_an_earlier_life_that_can_never_be_sent_is_told(
    package: Path, tmp_path: Path, case: str
) -> None:
    _beyond(package, tmp_path, case, is_restarted=True)
