"""The outbox on the LittleFS of a virtual board, its power cut at every flash operation.

The board stores messages and sends them to a broker, which is this file: it answers each
PUBLISH that the board prints, and keeps the session.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from virtual_rig import SerialConsole, log, mpremote, wait_until

from keyfob_host.data import data_path
from keyfob_host.virtual import VirtualBoard

STRIDE = 29  # of the sample
MESSAGES = 30
WORK = """
import os, sys
from keyfob.outbox import Outbox
SETTINGS = {"messages": 50, "bytes": 8192, "when_full": "refuse"}
def step(box):
    message = box.next()
    if not message:
        return False
    token, topic, payload, qos, retain, packet_id, was_sent, is_released, _ = message
    if not is_released:
        print("publish", qos, packet_id, int(was_sent), payload[:3].decode(), len(payload), "?")
        sys.stdin.read(1)  # PUBACK or PUBREC
        if qos == 2:
            box.released(token)
    if qos == 2:
        print("pubrel", packet_id)
    box.done(token)
    return True
def work():
    box = Outbox(SETTINGS)
    for number in range(MESSAGES):
        payload = b"%03d" % number + b"x" * (0, 20, 60, 300, 900)[number % 5]
        box.put("devices/sensor-01/reading", payload, 1 + number % 2, False)
        print("stored", payload[:3].decode())
        if number % 3 == 2:
            step(box)
            step(box)
def drain():
    box = Outbox(SETTINGS)
    while step(box):
        pass
    files = os.listdir("/outbox") if "outbox" in os.listdir("/") else []
    print("left", box.count, box.size, [name for name in files if len(name) == 8])
""".replace("MESSAGES", str(MESSAGES))


@pytest.fixture
def board(virtual_board: VirtualBoard, tmp_path: Path) -> VirtualBoard:
    """A board that has the outbox and `WORK` on its flash, and is off."""
    firmware = data_path("firmware") / "keyfob"
    stems = ("__init__", "errors", "events", "outbox", "outbox_segments")
    modules = [firmware / f"{stem}.py" for stem in stems]
    work = tmp_path / "work.py"
    work.write_text(WORK, "utf-8")
    mpremote(virtual_board, "fs", "mkdir", ":/keyfob")
    mpremote(virtual_board, "fs", "cp", *modules, ":/keyfob/")
    mpremote(virtual_board, "fs", "cp", work, ":/work.py")
    virtual_board.power(False)
    return virtual_board


class Broker:
    """What arrived, and which packet identifiers of QoS 2 are held."""

    def __init__(self) -> None:
        self.stored: list[str] = []
        self.delivered: list[str] = []
        self.qos: dict[str, int] = {}
        self._held: dict[str, str] = {}

    def read(self, console: str) -> None:
        for line in console.split("\r\n")[:-1]:  # the cut may tear the last one
            word, *rest = line.split()[:6] or [""]
            if word == "stored":
                self.stored.append(rest[0])
            elif word == "pubrel":
                self._held.pop(rest[0], None)
            elif word == "publish":
                self._publish(*rest)

    def _publish(self, qos: str, packet_id: str, was_sent: str, name: str, size: str) -> None:
        assert int(size) == 3 + (0, 20, 60, 300, 900)[int(name) % 5]
        self.qos[name] = int(qos)
        if qos == "2":
            if packet_id in self._held:
                assert self._held[packet_id] == name and was_sent == "1"
                return
            self._held[packet_id] = name
        self.delivered.append(name)

    def check(self) -> None:
        times = Counter(self.delivered)
        assert [name for name in self.stored if not times[name]] == [], "lost"
        twice = [name for name in times if times[name] > 1]
        assert sum(times.values()) - len(times) <= 1, f"twice: {twice}"
        assert [name for name in twice if self.qos[name] == 2] == [], "QoS 2 twice"
        assert list(times) == sorted(times), "order"


def run_until(board: VirtualBoard, code: str, ending: str) -> str:
    """Type ``code``, answer its questions, until the board printed ``ending`` or is off."""
    start = len(log(board))
    answered = 0

    def is_over() -> bool:
        nonlocal answered
        is_off = board.info()["state"] == "off"
        said = log(board)[start:]
        asked = said.count("?\r\n")
        if asked > answered and not is_off:
            console.send(b"k" * (asked - answered))
            answered = asked
        return ending in said or is_off

    with SerialConsole(board) as console:
        console.send(f"from work import *; {code}\r".encode())
        wait_until(is_over, lambda: f"{ending!r} in {log(board)[start:]!r}")
    return log(board)[start:]


def power_on(board: VirtualBoard) -> None:
    board.power(True)
    wait_until(lambda: log(board).endswith(">>> "), lambda: log(board)[-200:])


def cut_at(board: VirtualBoard, image: bytes, operation: int) -> bool:
    """Work from ``image`` on with a cut at that flash operation; False if it came to no cut."""
    with Path(board.info()["flash"]).open("r+b") as flash:
        flash.write(image)
    power_on(board)
    board.flash_fault(operation)
    broker = Broker()
    said = run_until(board, "work(); drain()", "\nleft 0 0 []")
    broker.read(said)
    board.flash_fault(None)
    was_cut = "\nleft" not in said
    if was_cut:
        power_on(board)
        broker.read(run_until(board, "drain()", "\nleft 0 0 []"))
    broker.check()
    board.power(False)
    return was_cut


def sweep(board: VirtualBoard, stride: int) -> int:
    """Cut at every ``stride``-th operation until there are no more; how many cuts."""
    image = Path(board.info()["flash"]).read_bytes()
    operation, cuts = 1, 0
    while cut_at(board, image, operation):
        cuts += 1
        operation += stride
    print(f"{cuts} power cuts, at every {stride}. of {operation - 1} flash operations")
    return cuts


def test_a_power_cut_loses_no_message_and_sends_one_twice_at_most(board: VirtualBoard) -> None:
    assert sweep(board, STRIDE) >= 8


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_power_cut_at_every_flash_operation_loses_none(board: VirtualBoard) -> None:
    assert sweep(board, 1) >= 8 * STRIDE
