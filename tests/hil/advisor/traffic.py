"""What a device publishes and subscribes to, as cases need it: found out, not asked for.

A device that has no such traffic is not at fault: it skips the case, with that reason.
"""

from __future__ import annotations

import pytest

# So long a device may take for what it does by itself: to publish, to notice that an
# acknowledgement does not come, to connect again.
LIMIT_S = 60.0
_WORD = "keyfob"  # stands for whatever a wildcard stands for


def first_publish(scripted, where=lambda packet: True, what: str = "a message"):
    """The next PUBLISH that ``where`` takes."""
    seen = scripted.find_packet("PUBLISH", where, LIMIT_S)
    if seen is None:
        pytest.skip(f"it published no {what} within {LIMIT_S:g} s")
    return seen


def subscribed(scripted):
    """The next SUBSCRIBE that brings a filter."""
    seen = scripted.find_packet("SUBSCRIBE", lambda packet: packet.filters, LIMIT_S)
    if seen is None:
        pytest.skip(f"it subscribed to nothing within {LIMIT_S:g} s")
    return seen


def command_topic(device, scripted) -> str:
    """A topic of whose messages with QoS 1 it wants to be sent."""
    granted = scripted.look(lambda: _acknowledging(scripted) or None, LIMIT_S)
    if granted is None:
        others = ", ".join(scripted.subscriptions())
        pytest.skip(
            f"it subscribed to nothing with QoS 1 or 2 within {LIMIT_S:g} s"
            + (f", only with QoS 0 to {others}" if others else "")
        )
    wanted = device.topics.command
    if wanted and any(covers(one, wanted) for one in granted):
        return wanted
    return example_of(granted[0])


def _acknowledging(scripted) -> list[str]:
    return [topic_filter for topic_filter, qos in scripted.subscriptions().items() if qos & 3]


def covers(topic_filter: str, topic: str) -> bool:
    """Whether ``topic_filter`` takes ``topic``: section 4.7."""
    wanted, levels = _levels(topic_filter), topic.split("/")
    for at, level in enumerate(wanted):
        if level == "#":
            return True
        if at >= len(levels) or level not in ("+", levels[at]):
            return False
    return len(wanted) == len(levels)


def example_of(topic_filter: str) -> str:
    """A topic that ``topic_filter`` takes."""
    return "/".join(_WORD if one in ("+", "#") else one for one in _levels(topic_filter))


def _levels(topic_filter: str) -> list[str]:
    levels = topic_filter.split("/")
    return levels[2:] if levels[0] == "$share" else levels


def harmless(size: int) -> bytes:
    """``size`` bytes that command nothing: an empty JSON object with much room in it."""
    return b"" if not size else b"{" + b" " * (size - 2) + b"}"
