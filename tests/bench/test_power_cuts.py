"""The power of a virtual board cut at each flash write and erase that Keyfob makes.

In the middle of one, half a page programmed or half a sector erased, and before it. Then the
board starts and looks for itself, with the firmware's own code: its file system mounts, its
identity is the old one or the new one, whole, and its settings are those that belong to it.
What the outbox does behind `put` is swept in `test_outbox_power`.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from provision_bench import powered_board
from virtual_rig import SerialConsole, log, wait_until

from keyfob_host.boards import BoardRef
from keyfob_host.data import data_path
from keyfob_host.errors import KeyfobHostError
from keyfob_host.pki.authority import Authority
from keyfob_host.pki.identity import Identity
from keyfob_host.provision.provisioning import Settings, provision_board
from keyfob_host.sync import sync_board
from keyfob_host.transport import open_transport, prompt
from keyfob_host.virtual import VirtualBoard

OLD, NEW = "old.keyfob.test", "new.keyfob.test"
DAY_S = 86_400
LOOK = """
import json, os, time
from keyfob import config, store, trial
from keyfob.clock import Clock
from keyfob.errors import KeyfobError
from keyfob.outbox import Outbox
OUTBOX = {"messages": 50, "bytes": 8192, "when_full": "refuse"}
START_S = NOW_S
class Set:
    def now_s(self):
        return NOW_S
    def doubt(self):
        print("the clock is doubted")
def floor():
    return Clock({"servers": [], "min_s": 0})
def look(attempts):
    told = {"loaded": []}
    try:
        settings = config.load()
        told["broker"] = settings["broker"]["host"]
        for _ in range(attempts):
            one = store.load(settings["device_id"], clock=Set())
            told["loaded"].append([one.slot, one.cert_sha256(), one.on_trial])
    except KeyfobError as error:
        told["error"] = str(error)
    told["report"] = trial.report()
    told["id"] = sorted(os.listdir("/id") + os.listdir("/id/a") + os.listdir("/id/b"))
    told["floor_s"] = floor().floor_s()
    box, found = Outbox(OUTBOX), []
    while True:
        message = box.next()
        if not message:
            break
        found.append([message[2][:3].decode(), len(message[2])])
        box.done(message[0])
    told["outbox"] = found
    print("facts", json.dumps(told))
def other():
    with open("/id/active") as file:
        return "b" if file.read() == "a" else "a"
def try_slots():
    for error in (None, KeyfobError("mqtt.not-authorized", "5")):
        trial.begin(other())
        print("tried", store.load("sensor-01", clock=Set()).on_trial)
        if error:
            trial.failed(error)
            print("told", trial.take_report()["code"])
        else:
            trial.confirm()
    trial.begin(other())
    print("attempts", [store.load("sensor-01", clock=Set()).on_trial for _ in range(4)])
    print("done")
def put():
    box = Outbox(OUTBOX)
    for number in range(10):
        box.put("devices/sensor-01/reading", b"%03d" % number + b"x" * (number * 40), 1, False)
        print("stored %03d" % number)
    print("done")
def keep_floor(unix_s):
    from keyfob import floor
    floor.keep(floor.PATH, unix_s)
def keep():
    for number in range(12):
        keep_floor(START_S + number * 50000)
        print("kept", number)
    print("done")
"""


@dataclass
class Bench:
    """A board that runs no program, has Keyfob's firmware and `LOOK` beside it."""

    ref: BoardRef
    authority: Authority

    @property
    def board(self) -> VirtualBoard:
        assert self.ref.virtual is not None
        return self.ref.virtual

    def provision(self, device_id: str, broker: str, key_type: str = "p256") -> Identity:
        made = self.authority.issue_device(device_id, key_type=key_type)
        provision_board(self.ref, made, Settings(broker=f"{broker}:8883"), reset=False)
        return made

    def run(self, code: str) -> None:
        with open_transport(self.ref) as transport:
            transport.exec(code, doing="making ready")

    def image(self) -> bytes:
        self.board.power(False)
        return Path(self.board.info()["flash"]).read_bytes()

    def boot(self, image: bytes | None = None) -> None:
        if image:
            with Path(self.board.info()["flash"]).open("r+b") as flash:
                flash.write(image)
        self.board.power(True)
        wait_until(lambda: log(self.board).endswith(">>> "), lambda: log(self.board)[-200:])

    def is_off(self) -> bool:
        return bool(self.board.info()["state"] == "off")

    def type(self, code: str, ending: str) -> str:
        """What the board prints until the line ``ending``, or until its power is cut."""
        start = len(log(self.board))
        with SerialConsole(self.board) as console:
            console.send(f"from look import *; {code}\r".encode())
            wait_until(
                lambda: self.is_off() or f"\n{ending}" in self._lines(start),
                lambda: self._lines(start),
            )
        return log(self.board)[start:]

    def _lines(self, start: int) -> str:
        """What was printed since, as far as its lines are whole."""
        return log(self.board)[start:].rpartition("\r\n")[0]

    def look(self, attempts: int = 1) -> dict[str, Any]:
        said = self.type(f"look({attempts})", "facts {")
        line = next(line for line in said.splitlines() if line.startswith("facts {"))
        facts: dict[str, Any] = json.loads(line[6:])
        assert "error" not in facts, facts
        assert "doubted" not in said and "store.fallback" not in said
        return facts

    def sweep(
        self,
        image: bytes,
        work: Callable[[], str],
        check: Callable[[str], None],
        stride: int,
    ) -> int:
        """From ``image`` on, ``work`` cut at every ``stride``-th flash operation until it comes
        to its end; ``check`` gets what was said. How many times it was cut."""
        operation, cuts = 1, 0
        while True:
            for done in (0.5, 0.0)[: 2 if stride == 1 else 1]:
                self.boot(image)
                self.board.flash_fault(operation, done)
                said = work()
                self.board.flash_fault(None)
                was_cut = self.is_off()
                if was_cut:
                    self.boot()
                check(said)
                self.board.power(False)
                if not was_cut:
                    told = (cuts, stride, operation - 1)
                    print("{} power cuts, at every {}. of {} flash operations".format(*told))
                    return cuts
                cuts += 1
            operation += stride


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    folder = tmp_path_factory.mktemp("board")
    source = folder / "firmware"
    shutil.copytree(data_path("firmware"), source, ignore=shutil.ignore_patterns("__pycache__"))
    (source / "main.py").write_text("")
    (source / "look.py").write_text(LOOK.replace("NOW_S", str(int(time.time()))))
    with powered_board(folder) as ref:
        sync_board(ref, source=source, reset=False)
        yield Bench(ref, Authority.ephemeral())


@pytest.fixture(scope="module")
def blank(bench: Bench) -> bytes:
    """Before any identity."""
    return bench.image()


def fingerprint(identity: Identity) -> str:
    return hashlib.sha256(identity.cert_der()).hexdigest()[:16]


# -- (a) a second identity and its settings over a first one


@pytest.fixture
def impatient(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A dead board is given up after 10 s; here it is known to be dead."""
    read_until = prompt.read_until

    def read(port: Any, ending: bytes, deadline: float) -> bytes:
        data = b""
        while not data.endswith(ending) and time.monotonic() < deadline and not bench.is_off():
            data += read_until(port, ending, min(deadline, time.monotonic() + 0.2))
        return data

    monkeypatch.setattr(prompt, "read_until", read)
    monkeypatch.setattr(prompt, "READ_TIMEOUT_S", 1.0)


def provisioning(bench: Bench, blank: bytes, stride: int, key_type: str = "p256") -> int:
    bench.boot(blank)
    bench.provision("sensor-00", OLD, key_type)
    old = bench.provision("sensor-01", OLD, key_type)
    image = bench.image()
    new = bench.authority.issue_device("sensor-02", key_type=key_type)
    pairs = {(fingerprint(old), OLD): 0, (fingerprint(new), NEW): 0}

    def work() -> str:
        try:
            provision_board(bench.ref, new, Settings(broker=f"{NEW}:8883"), reset=False)
            return "done"
        except KeyfobHostError as error:
            # One that is slow is cut short as well, between two operations.
            bench.board.power(False)
            return error.code

    def check(said: str) -> None:
        facts = bench.look()
        pair = (facts["loaded"][0][1], facts["broker"])
        pairs[pair] += 1  # never another one, nor the settings of the other
        if said == "done":
            assert pair == (fingerprint(new), NEW)

    cuts = bench.sweep(image, work, check, stride)
    assert list(pairs.values())[-1], pairs
    print(f"provisioning: {list(pairs.values())} starts with the old one, the new one")
    return cuts


def test_provisioning_cut_short_leaves_one_identity_with_its_settings(
    bench: Bench, blank: bytes, impatient: None
) -> None:
    assert provisioning(bench, blank, 9) >= 4


def provisioning_rsa(bench: Bench, blank: bytes, stride: int) -> int:
    return provisioning(bench, blank, stride, "rsa2048")


# -- settings that wait for the board to start


def waiting_settings(bench: Bench, blank: bytes, stride: int) -> int:
    bench.boot(blank)
    bench.provision("sensor-01", OLD)
    old_settings = "open('/keyfob.json').read()"
    bench.run(f"open('/kept', 'w').write({old_settings})")
    new = bench.provision("sensor-02", NEW)
    # As the power cut between the two renames leaves it.
    bench.run(
        "import os; from look import other; there = '/id/%s/keyfob.json' % "
        "('b' if other() == 'a' else 'a'); os.rename('/keyfob.json', there); "
        "os.rename('/kept', '/keyfob.json')"
    )
    image = bench.image()

    def check(said: str) -> None:
        facts = bench.look()
        assert (facts["loaded"][0][1], facts["broker"]) == (fingerprint(new), NEW)
        assert "keyfob.json" not in facts["id"]

    return bench.sweep(image, lambda: bench.type("look(1)", "facts {"), check, stride)


def test_settings_that_wait_in_the_slot_become_the_boards(bench: Bench, blank: bytes) -> None:
    assert waiting_settings(bench, blank, 3) >= 1


# -- (b) a slot on trial


def trials(bench: Bench, blank: bytes, stride: int) -> int:
    bench.boot(blank)
    slots = {"a": fingerprint(bench.provision("sensor-01", OLD))}
    slots["b"] = fingerprint(bench.provision("sensor-01", OLD))
    image = bench.image()
    ends = []

    def check(said: str) -> None:
        facts = bench.look(attempts=5)
        for slot, cert, _ in facts["loaded"]:
            assert cert == slots[slot]
        tried = [is_tried for _, _, is_tried in facts["loaded"]]
        assert tried == sorted(tried, reverse=True) and sum(tried) <= 3
        assert not set(facts["id"]) & {"trial", "keyfob.json"}
        # b was active and a on trial; committed, a is active from then on.
        ends.append(facts["loaded"][-1][0])
        if "tried" not in said:
            assert ends[-1] == "b"
        if "store.committed" in said:
            assert ends[-1] == "a"
        if facts["report"]:
            codes = ("mqtt.not-authorized", "store.trial-cut-short")
            assert facts["report"]["code"] in codes and facts["report"]["slot"] != ends[-1]

    cuts = bench.sweep(image, lambda: bench.type("try_slots()", "done"), check, stride)
    assert set(ends) == {"a", "b"}
    return cuts


def test_a_trial_cut_short_ends_with_the_old_slot_or_the_new_one(
    bench: Bench, blank: bytes
) -> None:
    assert trials(bench, blank, 7) >= 4


# -- (c) the outbox, (d) the clock


def puts(bench: Bench, blank: bytes, stride: int) -> int:
    bench.boot(blank)
    bench.provision("sensor-00", OLD)
    bench.provision("sensor-01", OLD)
    image = bench.image()

    def check(said: str) -> None:
        found = bench.look()["outbox"]
        stored = said.count("\r\nstored ")
        # All that were stored, in their order and whole; of the next one nobody was told.
        assert found == [[f"{number:03d}", 3 + number * 40] for number in range(len(found))]
        assert stored <= len(found) <= stored + 1

    return bench.sweep(image, lambda: bench.type("put()", "done"), check, stride)


def test_a_message_is_stored_whole_or_not_at_all(bench: Bench, blank: bytes) -> None:
    assert puts(bench, blank, 11) >= 3


def floors(bench: Bench, blank: bytes, stride: int) -> int:
    bench.boot(blank)
    bench.provision("sensor-00", OLD)
    bench.provision("sensor-01", OLD)
    bench.run("from look import *; keep_floor(START_S - 50000)")
    image = bench.image()
    bench.boot()
    start_s = bench.look()["floor_s"] + 50000

    def check(said: str) -> None:
        kept = (bench.look()["floor_s"] - start_s) / 50000
        told = said.count("\r\nkept ") - 1
        assert kept in (told, told + 1)

    return bench.sweep(image, lambda: bench.type("keep()", "done"), check, stride)


def test_the_clocks_floor_is_the_last_one_kept_or_the_one_before(
    bench: Bench, blank: bytes
) -> None:
    assert floors(bench, blank, 11) >= 2


# -- all of it


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(
    "story", [provisioning, provisioning_rsa, waiting_settings, trials, puts, floors]
)
def test_a_power_cut_at_every_flash_operation(
    bench: Bench, blank: bytes, impatient: None, story: Callable[[Bench, bytes, int], int]
) -> None:
    cuts = story(bench, blank, 1)
    print(f"{story.__name__}: {cuts} power cuts, before each flash operation and within")
