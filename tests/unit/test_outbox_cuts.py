"""keyfob.outbox and a broker that keeps its session: the power is cut at every byte, or a
write or a read fails there, and the next one does not.

Harder than LittleFS, on which a write that is not closed is as if it had not begun:
here each byte written so far stays, and each removal and renaming is one more place
to be cut at.
"""

import os

from device_support import Console, new_folder, remove_folder

from keyfob import outbox
from keyfob.errors import KeyfobError
from keyfob.outbox import Outbox

# Every day one place in so many, which is odd: all kinds of failure come by.
STEP = 1 if os.getenv("KEYFOB_WHOLE_SWEEPS") == "1" else 3


class PowerCut(Exception):
    """The supply failed."""


class Supply:
    """Stands for ``open`` and ``os`` in the outbox; fails after ``units`` of bytes and steps."""

    def __init__(self, units):
        self.left = units
        self.used = 0
        for name in ("mkdir", "remove", "rename"):
            setattr(self, name, self._step(getattr(os, name)))
        self.ilistdir, self.stat, self.urandom = os.ilistdir, os.stat, os.urandom

    def _step(self, function):
        def step(*arguments):
            self.take(1)
            return function(*arguments)

        return step

    def take(self, units):
        """How many of so many are still there; none: the cut."""
        if self.left is not None:
            if not self.left:
                raise PowerCut
            units = min(units, self.left)
            self.left -= units
        self.used += units
        return units

    def open(self, path, mode="rb"):
        if mode == "rb":
            return open(path, mode)
        if mode == "wb":
            self.take(1)  # the file is empty from here on
        return CutFile(self, open(path, mode))

    def __enter__(self):
        outbox.open, outbox.os = self.open, self
        return self

    def __exit__(self, *_):
        del outbox.open
        outbox.os = os


class CutFile:
    def __init__(self, supply, file):
        self._supply = supply
        self._file = file

    def write(self, data):
        done = 0
        while done < len(data):
            count = self._supply.take(len(data) - done)
            self._file.write(data[done : done + count])
            done += count
        return done

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._file.close()


class Flaky(Supply):
    """Fails once, with ``error``, after ``units`` of bytes and steps; reading is one, too."""

    def __init__(self, units, error):
        super().__init__(None)
        self._units, self._error = units, error

    def take(self, units):
        left = self._units - self.used
        if not left:
            self._units = -1
            raise self._error
        units = min(units, left) if left > 0 else units
        self.used += units
        return units

    def open(self, path, mode="rb"):
        if mode == "rb":
            self.take(1)
        return super().open(path, mode)


class Broker:
    """One that keeps the session: what it delivered, and the identifiers that it holds."""

    def __init__(self):
        self.delivered = []
        self._held = {}

    def publish(self, message):
        _, topic, payload, qos, retain, packet_id, was_sent, is_released, _ = message
        assert not is_released and 0xFF00 <= packet_id <= 0xFFFF
        assert (topic, retain) == (_topic_of(payload), False)
        if qos == 2:
            if packet_id in self._held:
                # A sender that reuses an identifier would lose a message here.
                assert self._held[packet_id] == payload and was_sent
                return
            self._held[packet_id] = payload
        self.delivered.append(payload)

    def release(self, packet_id):
        self._held.pop(packet_id, None)


class Bench:
    """An application that stores and a client that sends, step by step, over power cuts."""

    def __init__(self, folder, settings, seed):
        self._folder = folder
        self.settings = settings
        self._state = seed
        self.broker = Broker()
        self.accepted = []  # payloads whose `put` returned
        self.attempted = []  # those whose `put` was cut, too
        self.dropped = []  # the topics that were told
        self._number = 0
        self._message = None
        self._box = None

    def power_on(self):
        self._message = None
        self._box = Outbox(self.settings, self._folder)

    def run(self, steps):
        self.power_on()
        self.take_steps(steps)

    def take_steps(self, steps):
        for _ in range(steps):
            if self._draw(100) < 45:
                self._store()
            else:
                self.send()

    def drain(self):
        self.power_on()
        self.go_on()

    def go_on(self):
        """Send what there is."""
        while self._box.count or self._message:
            self.send()
        assert self._box.next() is None

    def _draw(self, limit):
        # Numerical Recipes' generator: the same draws on every Python.
        self._state = (self._state * 1_664_525 + 1_013_904_223) & 0xFFFFFFFF
        return (self._state >> 8) % limit

    def _store(self):
        qos = 1 + self._draw(2)
        self._number += 1
        payload = b"%d:%d:" % (qos, self._number) + b"x" * self._draw(60) * self._draw(4)
        self.attempted.append(payload)
        with Console() as console:
            try:
                _again(self._box.put, _topic_of(payload), payload, qos, False)
                self.accepted.append(payload)
            except KeyfobError as error:
                assert error.code == "mqtt.outbox-full"
                self.attempted.pop()
            finally:
                for event in console.events:
                    assert event["code"] == "mqtt.outbox-dropped"
                    self.dropped.append(event["detail"])

    def send(self):
        """One step of the oldest message's exchange; the connection never fails here."""
        if not self._message:
            message = _again(self._box.next)
            if not message:
                return
            if not message[7]:
                self.broker.publish(message)
            self._message = message
            if message[3] == 2 and not message[7]:
                _again(self._box.released, message[0])
        else:
            token, qos, packet_id = self._message[0], self._message[3], self._message[5]
            if qos == 2:
                self.broker.release(packet_id)
            _again(self._box.done, token)
            self._message = None


def _again(call, *arguments):
    """Once more, if the flash failed or memory was short."""
    try:
        return call(*arguments)
    except MemoryError:
        pass
    except KeyfobError as error:
        if error.code != "mqtt.outbox-failed":
            raise
    return call(*arguments)


def _topic_of(payload):
    return "t/" + payload.decode().split(":")[1]


def check_delivery(bench, cuts):
    """What the broker has against what was stored, after so many power cuts."""
    counts = {}
    for payload in bench.broker.delivered:
        counts[payload] = counts.get(payload, 0) + 1
    missing = [_topic_of(payload) for payload in bench.accepted if payload not in counts]
    # It is dropped before it is told, so a cut between the two leaves one untold.
    untold = [topic for topic in missing if topic not in bench.dropped]
    assert len(untold) <= (cuts if bench.settings["when_full"] == "drop-oldest" else 0), untold
    assert [payload for payload in counts if payload not in bench.attempted] == []
    assert [payload for payload in counts if _topic_of(payload) in bench.dropped] == []
    twice = [payload for payload in counts if counts[payload] > 1]
    assert sum(counts[payload] - 1 for payload in twice) <= cuts
    assert [payload for payload in twice if payload[:1] == b"2"] == []
    # In the order of storing, as far as they arrived for the first time.
    firsts = []
    for payload in bench.broker.delivered:
        if payload not in firsts:
            firsts.append(payload)
    assert firsts == [payload for payload in bench.attempted if payload in counts]


def sweep(settings, seed, steps):
    """Cut at every byte of ``steps`` operations; how many places there were."""
    count = run_once(settings, seed, steps, None)
    for units in range(0, count, STEP):
        run_once(settings, seed, steps, units)
    print("%d places to be cut at" % count)
    return count


def run_once(settings, seed, steps, units):
    folder = new_folder()
    try:
        bench = Bench(folder + "/outbox", settings, seed)
        with Supply(units) as supply:
            try:
                bench.run(steps)
                assert units is None
            except PowerCut:
                pass
        bench.drain()
        check_delivery(bench, cuts=1)
        if bench.accepted:
            left = [name for name in os.listdir(folder + "/outbox") if name != "marks.new"]
            assert left == ["marks"]
        return supply.used
    finally:
        remove_folder(folder)


ROOMY = {"messages": 50, "bytes": 8192, "when_full": "refuse"}
TIGHT = {"messages": 3, "bytes": 300, "when_full": "refuse"}
DROPS = {"messages": 4, "bytes": 400, "when_full": "drop-oldest"}


def test_nothing_is_lost_or_doubled_by_a_cut_at_any_byte():
    assert sweep(ROOMY, seed=1, steps=16) > 400


def test_nothing_is_lost_or_doubled_by_a_cut_in_a_full_outbox():
    assert sweep(TIGHT, seed=2, steps=32) > 400


def test_only_what_was_dropped_is_missing_after_a_cut_at_any_byte():
    assert sweep(DROPS, seed=3, steps=20) > 400


def test_a_cut_at_any_byte_of_the_marks_loses_none():
    # So many exchanges that the file of marks starts over twice.
    assert sweep(ROOMY, seed=4, steps=40) > 800


def test_power_may_fail_over_and_over():
    for seed in range(40):
        folder = new_folder()
        try:
            bench = Bench(folder + "/outbox", ROOMY, seed)
            cuts = 0
            for turn in range(12):
                with Supply(5 + (seed * 37 + turn * 101) % 260):
                    try:
                        bench.run(30)
                    except PowerCut:
                        cuts += 1
            bench.drain()
            assert cuts > 2
            check_delivery(bench, 12)
        finally:
            remove_folder(folder)


def fail_once(settings, seed, steps, units):
    """One failure at that place; how many places there are."""
    folder = new_folder()
    try:
        bench = Bench(folder + "/outbox", settings, seed)
        bench.power_on()
        error = OSError(5) if units % 2 else MemoryError("allocating")
        with Flaky(units, error) as supply:
            bench.take_steps(steps)
        if units % 4 < 2:
            bench.drain()
            check_delivery(bench, cuts=1)
        else:
            bench.go_on()
            check_delivery(bench, cuts=0)
        assert os.listdir(folder + "/outbox") == ["marks"]
        return supply.used
    finally:
        remove_folder(folder)


def test_a_failure_at_any_byte_loses_and_doubles_none_if_it_is_tried_again():
    for settings, seed, steps in ((ROOMY, 1, 16), (DROPS, 3, 20)):
        count = fail_once(settings, seed, steps, -1)
        assert count > 400
        for units in range(0, count, STEP):
            fail_once(settings, seed, steps, units)
