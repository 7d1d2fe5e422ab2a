"""The MQTT client with three independent brokers: mosquitto and ejabberd, which speak 3.1.1
and 5.0, and amqtt, which speaks 3.1.1 only.

On the host's side is another implementation, paho. What a broker does wrong is told by
the tests of the others.
"""

from __future__ import annotations

import contextlib
import re
import shutil
import socket
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from mqtt_rig import Device, Host, Plain, leave_session, make_package
from other_brokers import BrokerProcess, Ejabberd, Mosquitto21

from keyfob_host.listeners import free_port
from keyfob_host.relay import Fault, TcpRelay

pytestmark = [
    pytest.mark.mosquitto,
    pytest.mark.skipif(shutil.which("mosquitto") is None, reason="mosquitto is not installed"),
]
QOS = (0, 1, 2)
TAKEN_OVER = ("mqtt.taken-over", "mqtt.closed-again")
SAYS_TAKEN_OVER = ("ejabberd-5",)  # mosquitto 2.0.11 closes without its DISCONNECT


class Amqtt(BrokerProcess):
    """amqtt, which lets anybody in."""

    CONFIG = """\
listeners:
  default:
    type: tcp
    bind: 127.0.0.1:{port}
plugins:
  amqtt.plugins.authentication.AnonymousAuthPlugin:
    allow_anonymous: true
"""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        (folder / "amqtt.yaml").write_text(self.CONFIG.format(port=self.port))
        program = Path(sys.executable).with_name("amqtt")
        self.start([str(program), "-c", str(folder / "amqtt.yaml")], folder, NO_COLOR="1")


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_package(tmp_path_factory.mktemp("package"))


@pytest.fixture(scope="module")
def brokers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Plain | Amqtt]]:
    with (
        Plain(tmp_path_factory.mktemp("mosquitto")) as mosquitto,
        Amqtt(tmp_path_factory.mktemp("amqtt")) as amqtt,
    ):
        yield {"mosquitto": mosquitto, "amqtt": amqtt}


@pytest.fixture(scope="module")
def ejabberd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ejabberd]:
    with Ejabberd(tmp_path_factory.mktemp("ejabberd")) as running:
        yield running


@dataclass
class Peer:
    """A broker and a version to speak with it. ``name``: of both."""

    name: str
    port: int
    version: int
    login: tuple[str, str] | None = None

    def host(self, topic_filter: str) -> Host:
        return Host(self.port, topic_filter, login=self.login)

    def device(self, package: Path, name: str, *steps: list, **how: object) -> Device:
        if self.login:
            how |= dict(zip(("username", "password"), self.login, strict=True))
        return Device(package, name, self.port, *steps, version=self.version, **how)


@pytest.fixture(params=["mosquitto-4", "mosquitto-5", "amqtt-4", "ejabberd-4", "ejabberd-5"])
def peer(request: pytest.FixtureRequest, brokers: dict) -> Peer:
    name, version = request.param.split("-")
    if name == "ejabberd":
        broker = request.getfixturevalue("ejabberd")
        return Peer(request.param, broker.port, int(version), broker.LOGIN)
    return Peer(request.param, brokers[name].port, int(version))


def test_messages_of_each_qos_go_both_ways(package: Path, peer: Peer) -> None:
    name = peer.name
    up, down = f"up/{name}", f"down/{name}"
    publishes = [["publish", f"{up}/{qos}", 0, 20, qos] for qos in QOS]
    steps = [
        ["messages", down + "/0", 0], ["messages", down + "/1", 1], ["messages", down + "/2", 2],
        *publishes, ["got", 30],
    ]  # fmt: skip
    with (
        peer.host(up + "/#") as host,
        peer.device(package, name, *steps) as device,
    ):
        for qos in QOS:
            assert set(host.wait_for(f"{up}/{qos}", range(20)).values()) == {1}
        for qos in QOS:
            for number in range(10):
                host.publish(f"{down}/{qos}", number + 100 * qos, qos)
        device.end()
        want = {str(number + 100 * qos): 1 for qos in QOS for number in range(10)}
        assert device.got() == want
        assert len(device.events("mqtt.up")) == 1


def test_a_window_of_publishes_arrives_whole(package: Path, peer: Peer) -> None:
    name = peer.name
    steps = [["window", f"up/w/{name}/{qos}", 0, 400, qos, 8] for qos in (1, 2)]
    limits = {"inflight": 8}
    with (
        peer.host(f"up/w/{name}/#") as host,
        peer.device(package, "w-" + name, *steps, limits=limits) as device,
    ):
        device.end()
        for qos in (1, 2):
            assert set(host.wait_for(f"up/w/{name}/{qos}", range(400)).values()) == {1}


def test_wildcards_deliver_what_they_match(package: Path, peer: Peer) -> None:
    name = peer.name
    steps = [["messages", f"{name}/+/b", 1], ["messages", f"{name}/deep/#", 1],
             ["publish", f"{name}/ready", 0, 1, 1], ["got", 3]]  # fmt: skip
    with (
        peer.host(f"{name}/ready") as host,
        peer.device(package, "wild-" + name, *steps) as device,
    ):
        host.wait_for(f"{name}/ready", range(1))
        for number, topic in enumerate(["a/b", "a/c", "deep/x/y", "deep/b/z", "other"]):
            host.publish(f"{name}/{topic}", number, 1)
        device.end()
        assert set(device.got()) == {"0", "2", "3"}


def test_a_session_with_messages_waiting_is_taken_up(package: Path, peer: Peer) -> None:
    name = peer.name
    if name.startswith("amqtt"):
        pytest.skip("amqtt 0.12.1 keeps the session but sends no client what waited in it")
    device_id = "session-" + name
    leave_session(peer.port, device_id, "down/" + device_id, peer.version, peer.login)
    with peer.host("none") as host:
        for number in range(6):
            host.publish("down/" + device_id, number, 1 + number % 2)
    steps = [["messages", "down/" + device_id, 2], ["got", 6]]
    with peer.device(package, device_id, *steps) as device:
        device.end()
        assert device.events("mqtt.up")[0]["session_present"] is True
        assert device.got() == {str(number): 1 for number in range(6)}


def test_any_number_of_waiting_messages_is_taken_while_each_is_answered(
    package: Path, peer: Peer
) -> None:
    # mosquitto 2.0.11 sends far more at once than a board of 5.0 said it takes.
    name, count = peer.name, 90
    if name.startswith("amqtt"):
        pytest.skip("amqtt 0.12.1 keeps the session but sends no client what waited in it")
    device_id = "answers-" + name
    down, up = "down/" + device_id, "up/" + device_id
    leave_session(peer.port, device_id, down, peer.version, peer.login)
    with peer.host(up) as host:
        for number in range(count):
            host.publish(down, number, 1)
        steps = [["answer", down, 1, up], ["got", count]]
        with peer.device(package, device_id, *steps) as device:
            host.wait_for(up, range(count))
            device.end()
            assert set(device.got()) == {str(number) for number in range(count)}
            told = {event["code"] for event in device.events("error")}
            assert told <= {"mqtt.more-waiting"}


def test_the_will_is_sent_for_a_device_that_dies(package: Path, peer: Peer) -> None:
    name = peer.name
    topic = f"devices/will-{name}/status"
    with peer.host(topic) as host:
        steps = [["connected"], ["sleep", 60_000]]
        with peer.device(package, "will-" + name, *steps) as device:
            device.wait_for("step 0 ")
            _wait_for(lambda: host.seen[topic, "online"])
        _wait_for(lambda: host.seen[topic, "offline"])


def test_leaving_says_offline_and_sends_no_will(package: Path, peer: Peer) -> None:
    name = peer.name
    topic = f"devices/leaves-{name}/status"
    with peer.host(topic) as host:
        with peer.device(package, "leaves-" + name, ["connected"]) as device:
            device.end()
        _wait_for(lambda: host.seen[topic, "offline"])
        time.sleep(0.5)
        assert host.seen[topic, "offline"] == 1


def test_two_boards_of_one_client_identifier_are_told_so(package: Path, peer: Peer) -> None:
    if peer.name.startswith("amqtt"):
        pytest.skip("amqtt 0.12.1 leaves both connected after the first take-over")
    name = "twin-" + peer.name
    steps = [["messages", f"down/{name}", 1], ["connected"], ["got", 1],
             ["publish", f"up/{name}", 0, 1, 1]]  # fmt: skip
    with peer.host(f"up/{name}") as host, peer.device(package, name, *steps) as stays:
        stays.wait_for("step 1 ")
        with peer.device(package, name, ["connected"], ["sleep", 60_000]) as other:
            told: list[tuple[Device, dict]] = []
            deadline = time.monotonic() + 30
            while not told:
                assert time.monotonic() < deadline, stays.lines + other.lines
                errors = [(one, error) for one in (stays, other) for error in one.events("error")]
                told = [pair for pair in errors if pair[1]["code"] in TAKEN_OVER]
                time.sleep(0.01)
        device, error = told[0]
        if peer.name in SAYS_TAKEN_OVER:
            # The broker's own word, and at the first time.
            assert error["detail"].startswith("DISCONNECT: reason code 0x8e")
            assert device.events("mqtt.down")[0]["code"] == "mqtt.taken-over"
        else:
            # 3.1.1 has no word for it: it shows by what happens.
            assert re.match(r"closed 5 times in a row, last after \d+ ms", error["detail"])
        # The other is gone: all is well again, without anybody's help.
        stays.wait_event("mqtt.up", len(stays.events("mqtt.down")) + 1)
        host.publish(f"down/{name}", 0, 1)
        stays.end()
        assert host.wait_for(f"up/{name}", range(1)) == {0: 1}


def test_a_pubcomp_that_was_lost_is_recovered_from(package: Path, peer: Peer) -> None:
    # ejabberd answers the second PUBREL with reason code 0x92, which "is not an error
    # during recovery" (5.0 section 3.7.2.1).
    if peer.name.startswith("amqtt"):
        pytest.skip("amqtt 0.12.1 answers no PUBREL that it answered before (section 4.3.3)")
    topic = f"up/pubcomp-{peer.name}"
    steps = [["publish", topic, 0, 1, 2]]
    # The subscriber comes first: a broker may say in its PUBREC that there was none.
    with peer.host(topic) as host, TcpRelay(("127.0.0.1", peer.port)) as relay:
        through = replace(peer, port=relay.port)
        with through.device(package, "whole-" + peer.name, *steps) as device:
            device.end()
        answers = relay.connections[0].passed["down"]
        relay.fail(Fault("cut", "down", at_byte=answers - 1))
        with through.device(package, "cuts-" + peer.name, *steps) as device:
            _wait_for(lambda: len(relay.connections) > 1 and not relay.connections[1].alive)
            relay.clear()
            device.end(5)
            assert host.wait_for(topic, range(1)) == {0: 2}
            assert len(device.events("mqtt.up")) == 2


class Only311:
    """A listener before a broker that knows no 5.0: refuses it as 3.1.1 section 3.1.2.2 says.

    Byte for byte what mosquitto 1.5.8, the last series without 5.0, answers to a CONNECT
    of 5.0. The brokers of today that know 3.1.1 only do not: amqtt 0.12 reads it as one of
    3.1.1, finds no end of it and never answers; RabbitMQ 3.10 fails in its parser and
    hangs up.
    """

    def __init__(self, port: int) -> None:
        self._port = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                sock, _ = self._listener.accept()
                connect = sock.recv(4096)
                if connect[8] > 4:  # the protocol level
                    sock.sendall(bytes((0x20, 2, 0, 1)))
                    sock.close()
                    continue
                onward = socket.create_connection(("127.0.0.1", self._port))
                onward.sendall(connect)
                for source, target in ((sock, onward), (onward, sock)):
                    threading.Thread(target=_copy, args=(source, target), daemon=True).start()

    def __enter__(self) -> Only311:
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()


def _copy(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(4096):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)


def test_version_5_falls_back_where_the_broker_has_only_3_1_1(package: Path, brokers: dict) -> None:
    port = brokers["mosquitto"].port
    steps = [["publish", "up/fallback", 0, 3, 1]]
    with (
        Only311(port) as old,
        Host(port, "up/fallback") as host,
        Device(package, "fallback", old.port, *steps, version=5) as device,
    ):
        device.end()
        host.wait_for("up/fallback", range(3))
        codes = [event["code"] for event in device.events("error")]
        assert codes == ["mqtt.unacceptable-protocol"]


def test_version_5_falls_back_where_a_broker_that_knows_it_refuses_it(
    package: Path, tmp_path: Path
) -> None:
    steps = [["publish", "up/refused", 0, 3, 1]]
    with (
        Mosquitto21(tmp_path, "accept_protocol_versions 3, 4") as broker,
        Host(broker.port, "up/refused") as host,
        Device(package, "refused", broker.port, *steps, version=5) as device,
    ):
        device.end()
        host.wait_for("up/refused", range(3))
        (error,) = device.events("error")
        assert error["code"] == "mqtt.unacceptable-protocol"
        assert "132" in error["detail"] or "0x84" in error["detail"]


def _wait_for(condition, limit_s: float = 15.0) -> None:
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.02)
