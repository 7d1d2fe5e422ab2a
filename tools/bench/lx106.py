"""From counted instructions to seconds on an ESP8266: an estimate, and how it is made.

No ESP8266 hangs on the machine that the figures come from. What an i386 instruction of
MicroPython's costs there in cycles of the ESP8266's lx106 core is taken from programs
whose time on the chip somebody published: they are run here, and their instructions
counted as those of a handshake are. Both interpreters do their integers in digits of 16
bits. The published programs ran from RAM; bytecode in flash comes through the 32 KB
cache that the interpreter's own code comes through, so the dear end of the range is put
half as high again; that share is an assumption.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

SOURCE = "https://github.com/shaoziyang/micropython_benchmarks"
_HZ = 80_000_000
_FLASH_SHARE = 1.5
_PI = """
def pi(digits):
    scale = 10 ** (digits + 8)
    term = total = 3 * scale
    n, step_n, d, step_d = 1, 0, 0, 24
    while term > 1:
        n, step_n, d, step_d = n + step_n, step_n + 8, d + step_d, step_d + 32
        term = term * n // d
        total += term
    return total // 100000000
"""
_LOOP = """
def loop(given):
    for i in range(given[0]):
        result = given[1] {} given[2]
"""


@dataclass(frozen=True)
class Anchor:
    """``published_s``: what ``program`` took on an ESP8266 at 80 MHz, MicroPython 1.23."""

    label: str
    program: str
    call: str
    published_s: float


ANCHORS = (
    Anchor(
        "10,000 sums of small integers",
        _LOOP.format("+"), "loop([10000, 12345678, 56781234])", 0.214,
    ),
    Anchor(
        "10,000 products above 30 bits",
        _LOOP.format("*"), "loop([10000, 12345678, 56781234])", 0.611,
    ),
    Anchor("1,000 digits of pi", _PI, "pi(1000)", 1.868),
    Anchor("5,000 digits of pi", _PI, "pi(5000)", 41.057),
)  # fmt: skip


@dataclass(frozen=True)
class Cycles:
    """Of the chip for each instruction counted here: ``middle`` is the geometric mean of
    the anchors, ``low`` the cheapest, ``high`` the dearest and what flash may add."""

    low: float
    middle: float
    high: float
    lines: tuple[str, ...]

    def seconds(self, instructions: float) -> str:
        """At 80 MHz, for a table: ``8.4 (5.6-17)``."""
        found = [instructions * one / _HZ for one in (self.low, self.middle, self.high)]
        low, middle, high = (f"{one:.0f}" if one >= 10 else f"{one:.1f}" for one in found)
        return f"{middle} ({low}-{high})"


def cycles(count: Callable[[str], int]) -> Cycles:
    """``count``: the instructions of a program's source, run by itself."""
    found, lines = [], []
    for anchor in ANCHORS:
        counted = count(f"{anchor.program}\n{anchor.call}\n") - count(anchor.program)
        found.append(anchor.published_s * _HZ / counted)
        lines.append(
            f"| {anchor.label} | {anchor.published_s:.3f} | {counted:,} | {found[-1]:.2f} |"
        )
    middle = math.exp(sum(map(math.log, found)) / len(found))
    return Cycles(min(found), middle, max(found) * _FLASH_SHARE, tuple(lines))
