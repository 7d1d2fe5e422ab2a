"""The MQTT client with two independent brokers: mosquitto, and amqtt, which speaks 3.1.1 only.

On the host's side is a third implementation, paho. What a broker does wrong is told by
the tests of the other.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from mqtt_rig import Device, Host, Plain, leave_session, make_package

pytestmark = [
    pytest.mark.mosquitto,
    pytest.mark.skipif(shutil.which("mosquitto") is None, reason="mosquitto is not installed"),
]
QOS = (0, 1, 2)


class Amqtt:
    """amqtt in a process of its own, on a free port of the loopback."""

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
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.port = probe.getsockname()[1]
        (folder / "amqtt.yaml").write_text(self.CONFIG.format(port=self.port))
        program = Path(sys.executable).with_name("amqtt")
        self._log = folder / "amqtt.log"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [str(program), "-c", str(folder / "amqtt.yaml")],
                stdout=log, stderr=log, cwd=folder, env={**os.environ, "NO_COLOR": "1"},
            )  # fmt: skip
        deadline = time.monotonic() + 20
        while not self._answers():
            assert self._process.poll() is None and time.monotonic() < deadline, self.log()
            time.sleep(0.05)

    def _answers(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
        except OSError:
            return False
        return True

    def log(self) -> str:
        return self._log.read_text("utf-8", "replace")

    def __enter__(self) -> Amqtt:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()


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


@pytest.fixture(params=["mosquitto-4", "mosquitto-5", "amqtt-4"])
def peer(request: pytest.FixtureRequest, brokers: dict) -> tuple[str, int, int]:
    """Name of the broker and version, port, version."""
    name, version = request.param.split("-")
    return request.param, brokers[name].port, int(version)


def test_messages_of_each_qos_go_both_ways(package: Path, peer: tuple) -> None:
    name, port, version = peer
    up, down = f"up/{name}", f"down/{name}"
    publishes = [["publish", f"{up}/{qos}", 0, 20, qos] for qos in QOS]
    steps = [
        ["messages", down + "/0", 0], ["messages", down + "/1", 1], ["messages", down + "/2", 2],
        *publishes, ["got", 30],
    ]  # fmt: skip
    with (
        Host(port, up + "/#") as host,
        Device(package, name, port, *steps, version=version) as device,
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


def test_a_window_of_publishes_arrives_whole(package: Path, peer: tuple) -> None:
    name, port, version = peer
    steps = [["window", f"up/w/{name}/{qos}", 0, 400, qos, 8] for qos in (1, 2)]
    limits = {"inflight": 8}
    with (
        Host(port, f"up/w/{name}/#") as host,
        Device(package, "w-" + name, port, *steps, version=version, limits=limits) as device,
    ):
        device.end()
        for qos in (1, 2):
            assert set(host.wait_for(f"up/w/{name}/{qos}", range(400)).values()) == {1}


def test_wildcards_deliver_what_they_match(package: Path, peer: tuple) -> None:
    name, port, version = peer
    steps = [["messages", f"{name}/+/b", 1], ["messages", f"{name}/deep/#", 1],
             ["publish", f"{name}/ready", 0, 1, 1], ["got", 3]]  # fmt: skip
    with (
        Host(port, f"{name}/ready") as host,
        Device(package, "wild-" + name, port, *steps, version=version) as device,
    ):
        host.wait_for(f"{name}/ready", range(1))
        for number, topic in enumerate(["a/b", "a/c", "deep/x/y", "deep/b/z", "other"]):
            host.publish(f"{name}/{topic}", number, 1)
        device.end()
        assert set(device.got()) == {"0", "2", "3"}


def test_a_session_with_messages_waiting_is_taken_up(package: Path, peer: tuple) -> None:
    name, port, version = peer
    if name.startswith("amqtt"):
        pytest.skip("amqtt 0.12.1 keeps the session but sends no client what waited in it")
    device_id = "session-" + name
    leave_session(port, device_id, "down/" + device_id, version)
    with Host(port, "none") as host:
        for number in range(6):
            host.publish("down/" + device_id, number, 1 + number % 2)
    steps = [["messages", "down/" + device_id, 2], ["got", 6]]
    with Device(package, device_id, port, *steps, version=version) as device:
        device.end()
        assert device.events("mqtt.up")[0]["session_present"] is True
        assert device.got() == {str(number): 1 for number in range(6)}


def test_the_will_is_sent_for_a_device_that_dies(package: Path, peer: tuple) -> None:
    name, port, version = peer
    topic = f"devices/will-{name}/status"
    with Host(port, topic) as host:
        steps = [["connected"], ["sleep", 60_000]]
        with Device(package, "will-" + name, port, *steps, version=version) as device:
            device.wait_for("step 0 ")
            _wait_for(lambda: host.seen[topic, "online"])
        _wait_for(lambda: host.seen[topic, "offline"])


def test_leaving_says_offline_and_sends_no_will(package: Path, peer: tuple) -> None:
    name, port, version = peer
    topic = f"devices/leaves-{name}/status"
    with Host(port, topic) as host:
        with Device(package, "leaves-" + name, port, ["connected"], version=version) as device:
            device.end()
        _wait_for(lambda: host.seen[topic, "offline"])
        time.sleep(0.5)
        assert host.seen[topic, "offline"] == 1


class Only311:
    """A listener before a broker that knows no 5.0: refuses it as 3.1.1 section 3.1.2.2 says.

    amqtt, which knows no 5.0 either, reads a CONNECT of 5.0 as one of 3.1.1, finds no end
    of it and never answers.
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


def _wait_for(condition, limit_s: float = 15.0) -> None:
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.02)
