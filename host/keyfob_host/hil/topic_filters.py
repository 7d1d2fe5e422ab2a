"""Topic filters of MQTT (section 4.7): which topics they take, and one of those.

Filters and topics are taken for well formed; that ``$`` topics are not of ``#`` is not
minded.
"""

from __future__ import annotations

_WORD = "keyfob"  # stands for whatever a wildcard stands for


def covers(topic_filter: str, topic: str) -> bool:
    """Whether ``topic_filter`` takes ``topic``."""
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
    """Its levels, without what makes a subscription a shared one."""
    levels = topic_filter.split("/")
    return levels[2:] if levels[0] == "$share" else levels
