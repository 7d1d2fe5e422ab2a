"""What a scripted broker was told to do otherwise: rules, and which of them applies now."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import Literal

from keyfob_host.hil.scripted.packets import Properties

# How a connection is ended: with close_notify; by FIN without one; by RST; with an MQTT
# DISCONNECT (5.0 alone has one of a server), then as the first.
How = Literal["fin", "cut", "reset", "disconnect"]
Deed = Literal["withhold", "delay", "refuse", "close"]
ANSWERS = ("CONNACK", "PUBACK", "PUBREC", "PUBREL", "PUBCOMP", "SUBACK", "UNSUBACK", "PINGRESP")
MOMENTS = ("OPEN", "TLS", "CONNECT", "PUBLISH", "PUBACK", "PUBREC", "PUBREL", "PUBCOMP",
           "SUBSCRIBE", "UNSUBSCRIBE", "PINGREQ", "DISCONNECT", "AUTH")  # fmt: skip


@dataclass(eq=False)
class Rule:
    """One of them. ``on``: the answer it changes, or the packet or moment it acts at.

    ``times``: how often it acts, None for always; ``hits``: how often it has.
    """

    deed: Deed
    on: str
    times: int | None = None
    skip: int = 0
    how: How = "fin"
    answered: bool = False
    after_s: float = 0.0
    code: int = 0
    properties: Properties = field(default_factory=dict)
    hits: int = 0

    def __post_init__(self) -> None:
        known = MOMENTS if self.deed == "close" else ANSWERS
        if self.on not in known:
            raise ValueError(f"{self.deed} goes with {', '.join(known)}, not with {self.on!r}")

    @property
    def is_over(self) -> bool:
        """Whether it has acted as often as it was to."""
        return self.times is not None and self.hits >= self.times


class Rules:
    """Those in force; the newest that fits is taken. For any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._rules: list[Rule] = []

    def add(self, rule: Rule) -> Rule:
        """Put ``rule`` in force."""
        with self._lock:
            self._rules.append(rule)
        return rule

    def remove(self, rule: Rule) -> None:
        """Take ``rule`` back; harmless twice."""
        with self._lock:
            self._rules = [one for one in self._rules if one is not rule]

    def clear(self) -> None:
        """Take all back."""
        with self._lock:
            self._rules.clear()

    def take(self, on: str, *deeds: Deed) -> Rule | None:
        """The rule of these ``deeds`` that acts now that ``on`` comes, counted; None: none."""
        with self._lock:
            for rule in reversed(self._rules):
                if rule.on != on or rule.deed not in deeds or rule.is_over:
                    continue
                if rule.skip:
                    rule.skip -= 1
                    continue
                rule.hits += 1
                return rule
        return None
