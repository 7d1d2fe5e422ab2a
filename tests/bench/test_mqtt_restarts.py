"""Every numbered message arrives, over restarts of the broker between them.

Two ways to restart, as they prove different things:

- SIGTERM, with persistence: mosquitto stores its sessions and messages and takes them
  up again, so nothing that the device was told is delivered may be missing anywhere.
- SIGKILL, without: what the broker acknowledged and had not passed on is gone with it.
  That loss is the broker's, and the wire proves it: for each message that is missing its
  PUBACK or PUBREC is there, given by a broker that was killed. Any other loss is ours.
"""

from __future__ import annotations

import contextlib
import shutil
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from mqtt_rig import Device, Host, Plain, leave_session, make_package
from mqtt_wire import (
    CONNACK,
    PUBACK,
    PUBLISH,
    PUBREC,
    PUBREL,
    Packet,
    WireRelay,
    acknowledged,
    breaches,
)

pytestmark = [
    pytest.mark.mosquitto,
    pytest.mark.skipif(shutil.which("mosquitto") is None, reason="mosquitto is not installed"),
]
TASKS = 6
PAUSE_MS = 4
NOBODY = 9  # a port that nothing listens on
UP, STOP = "up/numbered", "down/stop"


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_package(tmp_path_factory.mktemp("package"))


class Run:
    """What came of it. ``sent``: the device published 0 to sent - 1, and was told of each
    that the broker has it; ``seen``: what the subscriber got, and how often."""

    def __init__(self, sent: int, seen: Counter[int], packets: list[Packet]) -> None:
        self.sent, self.seen, self.packets = sent, seen, packets
        self.missing = [number for number in range(sent) if not seen[number]]
        self.twice = [number for number in seen if seen[number] > 1]
        sessions = [one.session_present for one in packets if one.kind == CONNACK]
        self.connections, self.resumed = len(sessions), sum(sessions)
        self.again = len([one for one in packets if one.is_dup and one.is_up])

    def report(self) -> str:
        doubled = len([number for number in self.twice if number % 2 == 0])
        return (
            f"{self.sent} messages over {self.connections} connections ({self.resumed} with the "
            f"session kept), {self.again} sent again; {len(self.missing)} missing, {doubled} of "
            f"QoS 1 and {len(self.twice) - doubled} of QoS 2 more than once"
        )


def run(package: Path, folder: Path, restarts: int, version: int, *, is_killed: bool) -> Run:
    """Publish at QoS 1 (even numbers) and 2 (odd ones) while the broker is restarted.

    The subscriber: where the broker stores, it is away until the end, so that its own
    reconnects double nothing; a broker that is killed forgets it, so it is there throughout.
    """
    store = [] if is_killed else ["persistence true", f"persistence_location {folder}/"]
    folder.mkdir(parents=True, exist_ok=True)
    broker = Plain(folder / "first", *store)
    port = broker.port
    steps = [["messages", STOP, 1], ["stream", UP, TASKS, PAUSE_MS]]
    leave_session(port, "collector", UP)
    try:
        with (
            contextlib.ExitStack() as stack,
            WireRelay(("127.0.0.1", port)) as relay,
            Device(
                package, "numbered", relay.port, *steps, version=version, limits={"inflight": 8}
            ) as device,
        ):
            if is_killed:
                host = stack.enter_context(Host(port, UP, name="collector"))
            for number in range(restarts):
                device.wait_event("mqtt.up", number + 1)
                _wait_for_more(relay)
                # Not always at the same point of an exchange.
                time.sleep(number % 7 * 0.003)
                if is_killed:
                    relay.target = ("127.0.0.1", NOBODY)
                    broker.stop()
                else:
                    broker.end()
                device.wait_event("mqtt.down", number + 1)
                broker = Plain(folder / f"restart-{number}", *store, port=port)
                if is_killed:
                    # It forgot the subscriber: until that is back nobody is there to get
                    # what the device publishes, which is nobody's loss.
                    broker.wait_log("Sending SUBACK to collector")
                    relay.target = ("127.0.0.1", port)
            device.wait_event("mqtt.up", restarts + 1)
            _wait_for_more(relay)
            _stop(broker, port)
            sent = int(device.wait_for("streamed ").split()[1])
            device.end()
            assert not [event for event in device.events("error") if event["retry"] == "stop"]
            if not is_killed:
                host = stack.enter_context(Host(port, UP, name="collector"))
            _settle(host)
            seen = Counter({int(text): times for (_, text), times in host.seen.items()})
            return Run(sent, seen, relay.packets)
    finally:
        broker.stop()


def _stop(broker: Plain, port: int) -> None:
    """Tell the device to; a broker that forgot its subscription is asked for it again."""
    broker.wait_log("Sending (SUBACK to numbered|CONNACK to numbered .1, 0.)")
    with Host(port, "none") as teller:
        teller.publish(STOP, 0, 1)


def _wait_for_more(relay: WireRelay) -> None:
    """Until the broker acknowledged something of what the device sent after now."""
    seen = len(relay.packets)
    deadline = time.monotonic() + 10
    while not any(one.kind in (PUBACK, PUBREC) for one in relay.packets[seen:] if not one.is_up):
        assert time.monotonic() < deadline, "publishing did not go on"
        time.sleep(0.005)


def _settle(host: Host) -> None:
    """Until nothing has come for a while."""
    seen = -1
    while seen != (seen := sum(host.seen.values())):
        time.sleep(1.0)


def _nothing_is_lost_where_the_broker_keeps_its_word(
    package: Path, folder: Path, restarts: int, version: int
) -> None:
    done = run(package, folder, restarts, version, is_killed=False)
    print(done.report())
    assert done.connections == restarts + 1
    assert done.resumed >= restarts, "mosquitto did not keep the session"
    assert not (found := breaches(done.packets)), "\n".join(found)
    assert done.missing == []
    assert [number for number in done.twice if number % 2] == [], "QoS 2 twice"
    # At QoS 1 either hop may double; what the device sends twice is judged by `breaches`.


def _what_a_killed_broker_lost_it_had_acknowledged(
    package: Path, folder: Path, restarts: int, version: int
) -> None:
    done = run(package, folder, restarts, version, is_killed=True)
    print(done.report())
    assert done.connections == restarts + 1
    assert not (found := breaches(done.packets)), "\n".join(found)
    last = max(one.connection for one in done.packets)
    by_killed = acknowledged([one for one in done.packets if one.connection < last], UP)
    assert [number for number in done.missing if number not in by_killed] == []
    # The loss is a trickle at each kill, not a hole.
    assert len(done.missing) <= 8 * restarts


@pytest.mark.parametrize("version", [4, 5])
def test_restarts_of_a_broker_that_stores_lose_nothing(
    package: Path, tmp_path: Path, version: int
) -> None:
    _nothing_is_lost_where_the_broker_keeps_its_word(package, tmp_path, 3, version)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("version", [4, 5])
def test_100_restarts_of_a_broker_that_stores_lose_nothing(
    package: Path, tmp_path: Path, version: int
) -> None:
    _nothing_is_lost_where_the_broker_keeps_its_word(package, tmp_path, 100, version)


def test_a_killed_broker_loses_only_what_it_acknowledged(package: Path, tmp_path: Path) -> None:
    _what_a_killed_broker_lost_it_had_acknowledged(package, tmp_path, 3, 4)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("version", [4, 5])
def test_a_broker_killed_100_times_loses_only_what_it_acknowledged(
    package: Path, tmp_path: Path, version: int
) -> None:
    _what_a_killed_broker_lost_it_had_acknowledged(package, tmp_path, 100, version)


def _published(packet_id: int, number: int, **how: Any) -> Packet:
    return Packet(1, True, PUBLISH, packet_id, number, topic="up", **how)


CONNACKED = Packet(1, False, CONNACK, session_present=True)
ANEW_4, ANEW_5 = (Packet(1, False, CONNACK, version=level) for level in (4, 5))
ONE = _published(1, 0)
BREACHES = {
    "identifier-in-use": [CONNACKED, ONE, _published(1, 1)],
    "again-without-dup": [CONNACKED, ONE, CONNACKED, ONE],
    "again-without-a-reconnect": [CONNACKED, ONE, _published(1, 0, is_dup=True)],
    "again-with-another-identifier": [CONNACKED, ONE, CONNACKED, _published(2, 0, is_dup=True)],
    "again-after-pubrel": [
        CONNACKED, ONE, Packet(1, True, PUBREL, 1), CONNACKED, _published(1, 0, is_dup=True),
    ],
    "something-new-first": [CONNACKED, ONE, CONNACKED, _published(2, 1)],
    "in-another-order": [
        CONNACKED, ONE, _published(2, 1), CONNACKED, _published(2, 1, is_dup=True),
    ],
    "dup-in-a-new-session-of-5": [CONNACKED, ONE, ANEW_5, _published(1, 0, is_dup=True)],
    "new-first-in-a-new-session-of-5": [CONNACKED, ONE, ANEW_5, _published(2, 1)],
    "long-complete": [
        CONNACKED, ONE, Packet(1, False, PUBACK, 1), CONNACKED, _published(2, 1), CONNACKED,
        _published(1, 0, is_dup=True),
    ],
}  # fmt: skip
ALLOWED = {
    "again": [CONNACKED, ONE, CONNACKED, _published(1, 0, is_dup=True)],
    "again-in-a-new-session": [CONNACKED, ONE, ANEW_4, _published(1, 0, is_dup=True)],
    "again-in-a-new-session-of-5": [CONNACKED, ONE, ANEW_5, ONE, _published(2, 1)],
    "puback-that-was-lost": [
        CONNACKED, ONE, Packet(1, False, PUBACK, 1), CONNACKED, _published(1, 0, is_dup=True),
    ],
    "identifier-free-again": [CONNACKED, ONE, Packet(1, False, PUBACK, 1), _published(1, 1)],
    "released": [
        CONNACKED, ONE, Packet(1, True, PUBREL, 1), CONNACKED, Packet(1, True, PUBREL, 1),
        _published(2, 1),
    ],
}  # fmt: skip


@pytest.mark.parametrize("case", BREACHES)
def test_a_breach_is_seen(case: str) -> None:
    assert breaches(BREACHES[case])


@pytest.mark.parametrize("case", ALLOWED)
def test_what_is_allowed_is_no_breach(case: str) -> None:
    assert breaches(ALLOWED[case]) == []
