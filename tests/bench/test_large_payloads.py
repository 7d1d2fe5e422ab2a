"""1 MB in each direction through buffers of 256 bytes, in the 38 KB heap of an ESP8266.

The program is the benchmark's (`tools/bench/device/keyfob_large.py`): it publishes 1 MB as
a stream and gets it back as one, on a MicroPython of 32 bits that runs the firmware in
place from a ROMFS image, as a board can. The host reads the same message from the broker.
(mbedTLS has its own buffers beside that heap, as it has on an ESP32.)
"""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from keyfob_host.relay import Direction, Fault, TcpRelay
from keyfob_host.virtual.micropython32 import Unavailable

sys.path.append(str(Path(__file__).resolve().parents[2] / "tools"))
import micropython32
from bench import heap, rig
from bench.measure import Subject

pytestmark = [
    pytest.mark.mosquitto,
    pytest.mark.skipif(shutil.which("mosquitto") is None, reason="mosquitto is not installed"),
]
HEAP_BYTES = 38 << 10
PAYLOAD_BYTES = 1 << 20
LIMIT_S = 60.0


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[rig.Broker]:
    try:
        micropython32.command()
    except Unavailable as why:
        pytest.skip(f"no 32-bit MicroPython: {why}")
    with rig.Broker(tmp_path_factory.mktemp("broker")) as running:
        yield running


@pytest.fixture(scope="module", params=rig.TRANSPORTS)
def subject(
    request: pytest.FixtureRequest, broker: rig.Broker, tmp_path_factory: pytest.TempPathFactory
) -> Subject:
    board = rig.keyfob_board(tmp_path_factory.mktemp("boards") / "board", request.param, broker)
    heap.make_rom(board)
    return Subject("keyfob", request.param, board, broker.ports[request.param])


class Witness:
    """A client that keeps the digest of each large message."""

    def __init__(self, port: int) -> None:
        self.digests: list[str] = []
        self._client = paho.Client(CallbackAPIVersion.VERSION2)
        self._client.on_message = self._see
        ready = threading.Event()
        self._client.on_subscribe = lambda *_: ready.set()
        self._client.connect("127.0.0.1", port)
        self._client.subscribe("bench/large/+", 1)
        self._client.loop_start()
        assert ready.wait(5)

    def _see(self, client: object, data: object, message: paho.MQTTMessage) -> None:
        assert len(message.payload) == PAYLOAD_BYTES
        self.digests.append(hashlib.sha256(message.payload).hexdigest())

    def __enter__(self) -> Witness:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.disconnect()
        self._client.loop_stop()


def play(subject: Subject, relay: TcpRelay) -> str:
    """What the device printed. A fault of ``relay`` is over once it was met."""
    at_relay = Subject(subject.library, subject.transport, subject.board, relay.port)
    story = heap.Story("large", is_rom=True, is_cut=True)
    process = subprocess.Popen(
        heap.command(at_relay, story, HEAP_BYTES), cwd=subject.board, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    timer = threading.Timer(LIMIT_S, process.kill)
    timer.start()
    lines = []
    try:
        assert process.stdout
        for line in process.stdout:
            lines.append(line)
            if '"ev":"mqtt.down"' in line:
                relay.clear()
        assert process.wait() == 0, "".join(lines)
    finally:
        timer.cancel()
        process.kill()
        process.wait()
    return "".join(lines)


def digest_of(said: str, what: str) -> str:
    found = re.search(rf"^{what} ([0-9a-f]{{64}})$", said, re.MULTILINE)
    assert found, said
    return found[1]


def pattern_digest() -> str:
    """Of what the device sends: every 32 bytes are the digest of those before."""
    block, whole = bytes(32), hashlib.sha256()
    for _ in range(PAYLOAD_BYTES // 32):
        block = hashlib.sha256(block).digest()
        whole.update(block)
    return whole.hexdigest()


def test_a_megabyte_goes_out_and_comes_in_within_38_kb_of_heap(
    subject: Subject, broker: rig.Broker
) -> None:
    with (
        TcpRelay(("127.0.0.1", subject.port)) as relay,
        Witness(broker.ports["tcp"]) as witness,
    ):
        said = play(subject, relay)
        assert len(relay.connections) == 1
        assert min(relay.bytes_passed("up"), relay.bytes_passed("down")) > PAYLOAD_BYTES
    assert digest_of(said, "sent") == digest_of(said, "got") == pattern_digest()
    assert witness.digests == [pattern_digest()]


@pytest.mark.parametrize("direction", ["up", "down"])
def test_a_megabyte_that_was_cut_in_the_middle_arrives_whole_all_the_same(
    subject: Subject, broker: rig.Broker, direction: Direction
) -> None:
    with (
        TcpRelay(("127.0.0.1", subject.port)) as relay,
        Witness(broker.ports["tcp"]) as witness,
    ):
        relay.fail(Fault("cut", direction, at_byte=PAYLOAD_BYTES // 2))
        said = play(subject, relay)
        assert len(relay.connections) == 2
        assert relay.connections[0].passed[direction] == PAYLOAD_BYTES // 2
        assert relay.connections[1].passed["down"] > PAYLOAD_BYTES
    assert digest_of(said, "sent") == digest_of(said, "got") == pattern_digest()
    # At QoS 1 what the broker has already may come a second time.
    assert set(witness.digests) == {pattern_digest()}
