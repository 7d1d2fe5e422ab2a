"""The MQTT client when the link or the broker fails: nothing lost, nothing twice, no hang.

The sweeps cut a plain TCP connection at every byte of a story that has all exchanges of
MQTT 3.1.1 and 5.0 in it, in both directions; `make test` takes a sample of them.
"""

from __future__ import annotations

import contextlib
import itertools
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from mqtt_rig import Device, Host, Plain, leave_session, make_package
from mqtt_wire import FIRST_STORED_ID, PINGREQ, Packet, WireRelay, breaches

from keyfob_host.relay import Fault, TcpRelay

pytestmark = [
    pytest.mark.mosquitto,
    pytest.mark.skipif(shutil.which("mosquitto") is None, reason="mosquitto is not installed"),
]
SAMPLE_STRIDE = 53
STORY_LIMIT_S = 20.0


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_package(tmp_path_factory.mktemp("package"))


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plain]:
    with Plain(tmp_path_factory.mktemp("broker")) as running:
        yield running


class Story:
    """Connect to a session with messages waiting, subscribe, publish at each QoS, receive.

    Payloads are numbers: 0 to 9 at QoS 1, from 10 on at QoS 2.
    """

    def __init__(self, package: Path, broker: Plain, device_id: str, version: int) -> None:
        self._package, self._broker = package, broker
        self._id, self._version = device_id, version

    def run(self, port: int, relay: TcpRelay | None = None) -> None:
        up, down = f"up/{self._id}", f"down/{self._id}"
        leave_session(self._broker.port, self._id, down, self._version)
        steps = [
            ["messages", down, 2], ["messages", "other/" + self._id, 1],
            ["publish", up, 0, 1, 1], ["publish", up, 10, 1, 2],
            ["window", up, 1, 2, 1, 2], ["window", up, 11, 2, 2, 2],
            ["got", 4],
        ]  # fmt: skip
        with Host(self._broker.port, up) as host:
            for number in (0, 1, 10, 11):
                host.publish(down, number, 1 + number // 10)
            with Device(self._package, self._id, port, *steps, version=self._version) as device:
                if relay:
                    self._clear_after_the_cut(relay, device)
                device.end(STORY_LIMIT_S)
                assert all(host.wait_for(up, range(3)).values())
                assert set(host.wait_for(up, range(10, 13)).values()) == {1}, device.lines
                got = device.got()
                assert set(got) == {"0", "1", "10", "11"}, device.lines
                assert got["10"] == got["11"] == 1, device.lines

    def _clear_after_the_cut(self, relay: TcpRelay, device: Device) -> None:
        """The fault is met once; a story shorter than that is over without."""
        deadline = time.monotonic() + STORY_LIMIT_S
        while not (relay.connections and not relay.connections[0].alive):
            assert time.monotonic() < deadline, device.lines
            if device.starting("end"):
                break
            time.sleep(0.002)
        relay.clear()


def test_the_story_without_a_fault_has_every_exchange(package: Path, broker: Plain) -> None:
    for version in (4, 5):
        with TcpRelay(("127.0.0.1", broker.port)) as relay:
            Story(package, broker, f"whole-{version}", version).run(relay.port)
            assert len(relay.connections) == 1
            kinds = {
                direction: _packet_types(bytes(relay.connections[0].head[direction]))
                for direction in ("up", "down")
            }
        #   CONNECT, PUBLISH, PUBACK, PUBREC, PUBREL, PUBCOMP, SUBSCRIBE, DISCONNECT
        assert kinds["up"] == {1, 3, 4, 5, 6, 7, 8, 14}
        #   CONNACK, PUBLISH, PUBACK, PUBREC, PUBREL, PUBCOMP, SUBACK
        assert kinds["down"] == {2, 3, 4, 5, 6, 7, 9}


def _packet_types(stream: bytes) -> set[int]:
    """Types of the packets, each shorter than 128 bytes."""
    found, at = set(), 0
    while at < len(stream):
        assert stream[at + 1] < 128
        found.add(stream[at] >> 4)
        at += 2 + stream[at + 1]
    return found


def _sweep(package: Path, broker: Plain, version: int, direction: str, stride: int) -> int:
    """Cut at every ``stride``-th byte until the story is shorter; how many cuts there were."""
    cuts, at_byte = 0, 0
    while True:
        with TcpRelay(("127.0.0.1", broker.port)) as relay:
            relay.fail(Fault("cut", direction, at_byte=at_byte))
            device_id = f"cut-{version}-{direction}-{at_byte}"
            Story(package, broker, device_id, version).run(relay.port, relay)
            if relay.connections[0].passed[direction] < at_byte:
                return cuts
        cuts += 1
        at_byte += stride


@pytest.mark.parametrize("direction", ["up", "down"])
@pytest.mark.parametrize("version", [4, 5])
def test_a_cut_loses_nothing_and_repeats_no_qos_2(
    package: Path, broker: Plain, version: int, direction: str
) -> None:
    assert _sweep(package, broker, version, direction, SAMPLE_STRIDE) > 1


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("direction", ["up", "down"])
@pytest.mark.parametrize("version", [4, 5])
def test_a_cut_at_any_byte_loses_nothing_and_repeats_no_qos_2(
    package: Path, broker: Plain, version: int, direction: str
) -> None:
    cuts = _sweep(package, broker, version, direction, 1)
    print(f"{cuts} cuts, version {version}, {direction}")
    assert cuts > 60


@pytest.mark.parametrize("version", [4, 5])
def test_a_link_of_single_bytes_changes_nothing(package: Path, broker: Plain, version: int) -> None:
    with TcpRelay(("127.0.0.1", broker.port)) as relay:
        relay.fail(Fault("split", piece_bytes=1))
        Story(package, broker, f"split-{version}", version).run(relay.port)
        assert len(relay.connections) == 1


LAST_ID = FIRST_STORED_ID - 1


def _check_identifiers(sent: list[Packet]) -> int:
    """That they are taken in turn, from 1 to the last and again; how often they wrapped."""
    wraps = 0
    for before, after in itertools.pairwise(one.packet_id for one in sent):
        assert after == (before + 1 if before < LAST_ID else 1), (before, after)
        wraps += after == 1
    return wraps


@pytest.mark.parametrize("version", [4, 5])
@pytest.mark.parametrize("qos", [1, 2])
def test_identifiers_wrap_below_those_of_the_outbox(
    package: Path, broker: Plain, tmp_path: Path, qos: int, version: int
) -> None:
    name = f"wrap-{qos}-{version}"
    steps = [
        ["connected"], ["last_id", LAST_ID - 100],
        ["store", f"stored/{name}", 0, 20, 1 + qos % 2],
        ["window", f"up/{name}", 0, 480, qos, 8], ["drained"],
    ]  # fmt: skip
    with (
        WireRelay(("127.0.0.1", broker.port)) as relay,
        Host(broker.port, f"+/{name}") as host,
        Device(
            package, name, relay.port, *steps, version=version,
            limits={"inflight": 8}, outbox=tmp_path / "outbox",
        ) as device,
    ):  # fmt: skip
        device.end()
        assert set(host.wait_for(f"up/{name}", range(480)).values()) == {1}
        assert set(host.wait_for(f"stored/{name}", range(20)).values()) == {1}
    assert breaches(relay.packets) == []
    sent = relay.publishes(f"up/{name}")
    assert len(sent) == 480
    assert _check_identifiers(sent) == 1
    stored = relay.publishes(f"stored/{name}")
    assert len(stored) == 20
    assert min(one.packet_id for one in stored) >= FIRST_STORED_ID


def test_a_reset_half_way_in_a_qos_2_exchange_is_not_taken_for_the_next_one(
    package: Path, broker: Plain
) -> None:
    with (
        WireRelay(("127.0.0.1", broker.port)) as relay,
        Host(broker.port, "up/reset") as host,
    ):
        for number in range(3):
            with socket.create_connection(("127.0.0.1", broker.port)) as life:
                # CONNECT with a kept session, PUBLISH of QoS 2; no PUBREL.
                life.sendall(
                    b"\x10\x11\x00\x04MQTT\x04\x00\x00\x3c\x00\x05reset"
                    b"\x34\x0d\x00\x08up/reset\x00\x019"
                )
                answers = b""
                while len(answers) < 8:
                    answers += life.recv(64)
                assert answers[4:] == b"\x50\x02\x00\x01"
            steps = [["publish", "up/reset", number, 1, 2]]
            with Device(package, "reset", relay.port, *steps) as device:
                device.end()
                assert device.events("mqtt.up")[0]["session_present"] is True
        assert set(host.wait_for("up/reset", range(3)).values()) == {1}
    # mosquitto lets go of the old one where they differ; others drop the new one.
    assert "Reused message ID 1 from reset" not in broker.log()
    drawn = [one.packet_id for one in relay.publishes("up/reset")]
    assert len(set(drawn)) > 1, drawn


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_200_000_publishes_across_the_wrap_arrive_once(package: Path, tmp_path: Path) -> None:
    steps = [["window", "up/many", 0, 200_000, 1, 8]]
    with (
        Plain(tmp_path / "broker", "log_type error") as broker,
        WireRelay(("127.0.0.1", broker.port)) as relay,
        Host(broker.port, "up/many") as host,
        Device(package, "many", relay.port, *steps, limits={"inflight": 8}) as device,
    ):
        device.end(400)
        assert set(host.wait_for("up/many", range(200_000), 120).values()) == {1}
        assert not device.events("mqtt.down")
        device_ms = device.step_ms(0)
    assert breaches(relay.packets) == []
    sent = relay.publishes("up/many")
    assert len(sent) == 200_000
    wraps = _check_identifiers(sent)
    print(f"200,000 publishes in {device_ms} ms, {wraps} wraps")
    assert wraps == 3


def test_ten_keep_alive_periods_without_publishing_are_one_connection(
    tmp_path: Path, broker: Plain
) -> None:
    # A period of a second, which the settings do not allow. mosquitto hangs up after 1.5.
    least = ('"keepalive_s": (int, 5, 3600, 30)', '"keepalive_s": (int, 1, 3600, 30)')
    package = make_package(tmp_path / "package", ("config.py", *least))
    with contextlib.ExitStack() as stack:
        relays, devices = {}, {}
        for name, version in (("idle-4", 4), ("idle-5", 5), ("hears-4", 4), ("hears-5", 5)):
            relay = relays[name] = stack.enter_context(WireRelay(("127.0.0.1", broker.port)))
            steps = [["messages", f"down/{name}", 0], ["connected"], ["sleep", 10_000],
                     ["publish", f"up/{name}", 0, 1, 1]]  # fmt: skip
            devices[name] = stack.enter_context(
                Device(package, name, relay.port, *steps, version=version, keepalive_s=1)
            )
        host = stack.enter_context(Host(broker.port, "none"))
        # Section 3.1.2.10 counts what a client sends: hearing something is not enough.
        while not all(device.starting("end") for device in devices.values()):
            for name in ("hears-4", "hears-5"):
                host.publish(f"down/{name}", 0, 0)
            time.sleep(0.2)
        for name, device in devices.items():
            device.end()
            assert not device.events("mqtt.down"), name
            assert len(relays[name].connections) == 1
            pings = [one.at_s for one in relays[name].packets if one.kind == PINGREQ]
            assert 9 <= len(pings) <= 20, (name, len(pings))
            sent = [one.at_s for one in relays[name].packets if one.is_up]
            longest_s = max(after - before for before, after in itertools.pairwise(sent))
            assert longest_s <= 1.0 + 0.3, f"{name} was silent for {longest_s} s"
        assert devices["hears-4"].got()["0"] > 20


def test_an_error_that_there_is_no_memory_to_tell_ends_nothing(
    tmp_path: Path, broker: Plain
) -> None:
    # As on a heap that is full: the shell's tellings take more of it than the client's.
    told = '    retry = "stop" if is_stop(error.code) else "wait"\n'
    fails = "    global _start_ms\n    if _start_ms != -1:\n        _start_ms = -1\n"
    fails += "        raise MemoryError\n"
    package = make_package(tmp_path / "package", ("events.py", told, fails + told))
    with (
        TcpRelay(("127.0.0.1", broker.port)) as relay,
        Device(package, "no-memory", relay.port, ["connected"], ["sleep", 60_000]) as device,
    ):
        device.wait_for("step 0 ")
        relay.cut()
        device.wait_event("mqtt.up", 2, limit_s=3)


def test_a_broker_that_hangs_up_before_connack_is_told(package: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def hang_up() -> None:
            listener.accept()[0].close()

        thread = threading.Thread(target=hang_up)
        thread.start()
        port = listener.getsockname()[1]
        with Device(package, "hung-up", port, ["connected"]) as device:
            assert device.wait_event("error")["code"] in ("tls.closed", "tls.reset")
        thread.join()


@pytest.mark.parametrize("version", [4, 5])
def test_a_session_with_many_messages_waiting_gets_each_once(
    package: Path, broker: Plain, version: int
) -> None:
    name = f"waiting-{version}"
    leave_session(broker.port, name, "down/" + name, version)
    with Host(broker.port, "none") as host:
        for number in range(60):
            host.publish("down/" + name, number, 1 + number % 2)
    steps = [["messages", "down/" + name, 2], ["got", 60]]
    with Device(package, name, broker.port, *steps, version=version) as device:
        device.end()
        assert device.got() == {str(number): 1 for number in range(60)}
        assert device.events("mqtt.up")[0]["session_present"] is True
        order = [int(line.split()[2]) for line in device.starting("got ")]
        for qos in (1, 2):  # section 4.6: ordered, each QoS for itself
            of_qos = [number for number in order if 1 + number % 2 == qos]
            assert of_qos == sorted(of_qos)
