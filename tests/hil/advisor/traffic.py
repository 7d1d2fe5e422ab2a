"""What a device publishes and subscribes to, as cases need it: found out, not asked for.

A device that has no such traffic is not at fault: it skips the case, with that reason.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import NoReturn

import pytest

from keyfob_host.hil.scripted.packets import Packet
from keyfob_host.hil.topic_filters import covers, example_of

# So long a device may take for what it does by itself: to publish, to notice that an
# acknowledgement does not come, to connect again.
LIMIT_S = 60.0
# And so long to come to another broker, after many attempts that failed maybe.
CONNECTS_S = 150.0
# A device that did not do something in that time is not waited for so long again.
_SHORT_S = 10.0
_patience_s: dict[str, float] = {}


def patience_s(what: str) -> float:
    """How long to wait for ``what``."""
    return _patience_s.get(what, LIMIT_S)


def skip_without(what: str, why: str) -> NoReturn:
    """There was no ``what``: the case cannot be played."""
    waited_s = patience_s(what)
    _patience_s[what] = _SHORT_S
    pytest.skip(f"{why} within {waited_s:g} s")


def first_publish(scripted, where=lambda packet: True, what: str = "message"):
    """The next PUBLISH that ``where`` takes."""
    seen = scripted.find_packet("PUBLISH", where, patience_s(what))
    if seen is None:
        skip_without(what, f"it published no {what}")
    return seen


def subscribed(device, scripted):
    """The next SUBSCRIBE. A device that subscribed before and does not where the broker knows
    nothing of it has failed."""
    seen = scripted.find_packet("SUBSCRIBE", None, patience_s("SUBSCRIBE"))
    if seen is None:
        known = device.topics.command
        assert not known, f"it subscribed to {known} before, and not to a broker that lost that"
        skip_without("SUBSCRIBE", "it subscribed to nothing")
    return seen


def command_topic(device, scripted) -> str:
    """A topic of whose messages with QoS 1 it wants to be sent."""
    granted = scripted.look(lambda: _acknowledging(scripted) or None, patience_s("SUBSCRIBE"))
    if granted is None:
        others = ", ".join(scripted.subscriptions())
        only = f", only with QoS 0 to {others}" if others else ""
        skip_without("SUBSCRIBE", f"it subscribed to nothing with QoS 1 or 2{only}")
    wanted = device.topics.command
    if wanted and any(covers(one, wanted) for one in granted):
        return wanted
    return example_of(granted[0])


def _acknowledging(scripted) -> list[str]:
    return [topic_filter for topic_filter, qos in scripted.subscriptions().items() if qos & 3]


def harmless(size: int) -> bytes:
    """``size`` bytes that command nothing: an empty JSON object with much room in it."""
    return b"" if not size else b"{" + b" " * (size - 2) + b"}"


@dataclass
class Delivery:
    """What became of a message: its PUBACK, None if there was none; the connection that was
    asked last; how each one before it ended."""

    answer: object = None
    session: object = None
    ends: list[str] = field(default_factory=list)


def deliver(scripted, topic: str, payload: bytes, limit_s: float = LIMIT_S, properties=None):
    """Send a message with QoS 1 as a broker does that keeps it: with DUP and its packet
    identifier on each further connection, until it is acknowledged."""
    end_s = time.monotonic() + limit_s
    packet_id = scripted.next_packet_id()
    done = Delivery()

    def is_over() -> bool | None:
        for one in scripted.received("PUBACK"):
            if one.connection == done.session.number and one.packet.packet_id == packet_id:
                done.answer = one
        return True if done.answer or not done.session.is_open else None

    while (left_s := end_s - time.monotonic()) > 0:
        session = scripted.look(lambda: open_session(scripted), left_s)
        if session is None:
            break
        done.session = session
        session.send(
            Packet(
                "PUBLISH", topic=topic, payload=payload, qos=1, packet_id=packet_id,
                dup=bool(done.ends), properties=properties or {},
            )
        )  # fmt: skip
        scripted.look(is_over, end_s - time.monotonic())
        if done.answer or session.is_open:
            break
        done.ends.append(session.end)
    return done


def open_session(scripted):
    """The connection that stands and was let in, None if there is none."""
    for one in reversed(scripted.connections):
        if one.is_open and one.is_accepted:
            return one
    return None


def warn_of_ends(done: Delivery, what: str, case) -> None:
    """A message that took more than one connection."""
    if done.ends:
        times = f"{len(done.ends)} time{'s' if len(done.ends) > 1 else ''}"
        case.warn(f"the connection ended {times} before {what} was acknowledged: {done.ends[-1]}")
