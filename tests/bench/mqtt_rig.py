"""The MQTT client alone against a broker in clear text, so that MQTT's bytes can be counted.

The device is the firmware's package in a folder, with two modules replaced by the
benchmark's: the way to the broker (no Wi-Fi, clock or identity to set up) and the
stream (no TLS). The firmware itself has no such way.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import threading
import time
from collections import Counter
from pathlib import Path

import paho.mqtt.client as paho
from firmware_bench import FIRMWARE, HERE, MICROPYTHON, Mosquitto
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

STAND_INS = HERE.parent.parent / "tools" / "bench"
PLAIN = ["allow_anonymous true", "set_tcp_nodelay true", "max_queued_messages 0"]
Edit = tuple[str, str, str]  # module of the package, old text, new text
# A fault is over as soon as it was met; what is tested is what happens then.
EAGER: tuple[Edit, ...] = (
    ("backoff.py", "_FIRST_MS = const(500)", "_FIRST_MS = const(60)"),
    ("backoff.py", "_CEILING_MS = const(60_000)", "_CEILING_MS = const(400)"),
    ("backoff.py", "_STOP_MS = const(120_000)", "_STOP_MS = const(800)"),
)
# Time limits of a second each.
HURRIED: tuple[Edit, ...] = (
    ("connection.py", "_CONNACK_LIMIT_MS = const(15_000)", "_CONNACK_LIMIT_MS = const(1_000)"),
    ("keeping.py", "_WRITE_LIMIT_MS = const(15_000)", "_WRITE_LIMIT_MS = const(1_000)"),
    ("mqtt/session.py", "_ACK_LIMIT_MS = const(20_000)", "_ACK_LIMIT_MS = const(1_000)"),
    ("mqtt/session.py", "_PING_LIMIT_MS = const(20_000)", "_PING_LIMIT_MS = const(1_000)"),
)


class Plain(Mosquitto):
    """mosquitto without TLS, on the loopback."""

    def __init__(self, folder: Path, *lines: str, port: int = 0) -> None:
        super().__init__(folder, [*PLAIN, *lines], port)

    def wait_log(self, pattern: str, limit_s: float = 10.0) -> None:
        """Until a line of the log has it."""
        deadline = time.monotonic() + limit_s
        while not re.search(pattern, self.log()):
            assert time.monotonic() < deadline, f"no {pattern!r} in {self.log()[-2000:]}"
            time.sleep(0.01)

    def end(self) -> None:
        """SIGTERM: with persistence it stores everything and leaves."""
        self._process.terminate()
        assert self._process.wait(20) == 0, self.log()


def make_package(folder: Path, *edits: Edit) -> Path:
    """The firmware's package with the stand-ins."""
    package = folder / "keyfob"
    shutil.copytree(FIRMWARE / "keyfob", package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(STAND_INS / "board" / "uplink.py", package)
    shutil.copy(STAND_INS / "board_tcp" / "stream.py", package)
    for file, old, new in [*EAGER, *edits]:
        text = (package / file).read_text()
        assert old in text, f"{file} has no {old!r}"
        (package / file).write_text(text.replace(old, new))
    return folder


class Device:
    """A process that runs `mqtt_device.py` in the folder of `make_package`.

    ``broker``: settings of that section; ``limits``: that section; ``outbox``: the folder
    of an outbox, which outlives the process.
    """

    def __init__(self, folder: Path, device_id: str, port: int, *steps: list, **broker) -> None:
        limits, outbox = broker.pop("limits", {}), broker.pop("outbox", None)
        settings = {
            "device_id": device_id,
            "wifi": {"ssid": "bench"},
            "ntp": {"servers": ["localhost"]},
            "broker": {"host": "127.0.0.1", "port": port, "keepalive_s": 5, **broker},
            "limits": limits,
        }
        command = [str(MICROPYTHON), str(HERE / "mqtt_device.py")]
        lines = [json.dumps(line) + "\n" for line in (settings, steps, outbox and str(outbox))]
        self._start(command, folder, "".join(lines))

    def _start(self, command: list[str], folder: Path, told: str) -> None:
        self.lines: list[str] = []
        self._changed = threading.Condition()
        self._process = subprocess.Popen(
            command, cwd=folder, env={"MICROPYPATH": f"{folder}:.frozen"}, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        assert self._process.stdin
        self._process.stdin.write(told)
        self._process.stdin.close()
        self._pump_thread = threading.Thread(target=self._pump, daemon=True)
        self._pump_thread.start()

    def _pump(self) -> None:
        assert self._process.stdout
        for line in self._process.stdout:
            with self._changed:
                self.lines.append(line.rstrip("\n"))
                self._changed.notify_all()

    def wait_for(self, start: str, count: int = 1, limit_s: float = 20.0) -> str:
        """The ``count``-th line that starts so."""
        with self._changed:
            arrived = self._changed.wait_for(lambda: len(self.starting(start)) >= count, limit_s)
        assert arrived, f"no {start!r} within {limit_s} s:\n" + "\n".join(self.lines[-40:])
        return self.starting(start)[count - 1]

    def starting(self, start: str) -> list[str]:
        return [line for line in self.lines if line.startswith(start)]

    def events(self, name: str) -> list[dict]:
        parsed = [json.loads(line[3:]) for line in self.starting("kf ")]
        return [event for event in parsed if event["ev"] == name]

    def wait_event(self, name: str, count: int = 1, limit_s: float = 20.0) -> dict:
        deadline = time.monotonic() + limit_s
        while len(found := self.events(name)) < count:
            assert time.monotonic() < deadline, f"no {name}:\n" + "\n".join(self.lines[-40:])
            time.sleep(0.01)
        return found[count - 1]

    def got(self) -> Counter[str]:
        """Payloads handled, and how often."""
        return Counter(line.split()[2] for line in self.starting("got "))

    def step_ms(self, number: int) -> int:
        return int(self.wait_for(f"step {number} ").split()[2])

    def end(self, limit_s: float = 20.0) -> None:
        """Wait for the end of the steps."""
        self.wait_for("end", 1, limit_s)
        assert self._process.wait(5) == 0

    def __enter__(self) -> Device:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        self._pump_thread.join(5)


class Host:
    """The host's side over paho: what arrived, by topic, and how often."""

    def __init__(
        self,
        port: int,
        topic_filter: str = "up/#",
        version: int = 4,
        name: str = "",
        login: tuple[str, str] | None = None,
    ) -> None:
        """``name``: its client identifier, and the broker keeps its session."""
        self.seen: Counter[tuple[str, str]] = Counter()
        self._client = paho.Client(
            CallbackAPIVersion.VERSION2,
            name,
            protocol=paho.MQTTv5 if version == 5 else paho.MQTTv311,
            **({"clean_session": False} if name else {}),
        )
        if login:
            self._client.username_pw_set(*login)
        self._client.max_queued_messages_set(0)
        self._client.max_inflight_messages_set(1000)
        self._client.on_message = self._see
        self._client.on_connect = lambda *_: self._client.subscribe(topic_filter, 2)
        ready = threading.Event()
        self._client.on_subscribe = lambda *_: ready.set()
        self._client.reconnect_delay_set(0.05, 0.1)
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()
        assert ready.wait(5)

    def _see(self, client: paho.Client, data: object, message: paho.MQTTMessage) -> None:
        self.seen[message.topic, message.payload.decode()] += 1

    def wait_for(self, topic: str, numbers: range, limit_s: float = 20.0) -> Counter[int]:
        """Until each of ``numbers`` came on ``topic``; how often each."""

        deadline = time.monotonic() + limit_s
        missing = list(numbers)
        while missing := [number for number in missing if not self.seen[topic, str(number)]]:
            assert time.monotonic() < deadline, f"{topic}: {len(missing)} missing: {missing[:20]}"
            time.sleep(0.02)
        return Counter({number: self.seen[topic, str(number)] for number in numbers})

    def publish(self, topic: str, number: int, qos: int) -> None:
        self.send(topic, str(number).encode(), qos)

    def send(self, topic: str, payload: bytes, qos: int = 1) -> None:
        info = self._client.publish(topic, payload, qos)
        info.wait_for_publish(10)
        assert info.is_published()

    def __enter__(self) -> Host:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.disconnect()
        self._client.loop_stop()


def leave_session(
    port: int,
    device_id: str,
    topic_filter: str,
    version: int = 4,
    login: tuple[str, str] | None = None,
) -> None:
    """Make the broker keep a session for ``device_id``, subscribed with QoS 2."""
    client = paho.Client(
        CallbackAPIVersion.VERSION2,
        device_id,
        protocol=paho.MQTTv5 if version == 5 else paho.MQTTv311,
        **({} if version == 5 else {"clean_session": False}),
    )
    if login:
        client.username_pw_set(*login)
    done = threading.Event()
    client.on_subscribe = lambda *_: done.set()
    client.on_connect = lambda *_: client.subscribe(topic_filter, 2)
    if version == 5:
        properties = Properties(PacketTypes.CONNECT)
        properties.SessionExpiryInterval = 3600
        client.connect("127.0.0.1", port, clean_start=False, properties=properties)
    else:
        client.connect("127.0.0.1", port)
    client.loop_start()
    assert done.wait(5)
    client.disconnect()
    client.loop_stop()
