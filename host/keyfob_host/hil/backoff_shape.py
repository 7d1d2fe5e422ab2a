"""How a device waits between its attempts to connect: jittered, exponential, linear, constant.

Waits come in rounds: in each the device begins anew, so a device that does not draw lots
waits the same in each. What follows a schedule within `tolerance_ms` is called by the
schedule; anything else is random, ``jittered``, and judged by whether its bounds grow.

A device with full jitter (a wait is drawn from 0 to a bound that doubles) is taken for a
``linear`` or ``constant`` one only where all of its waits fall near one line by chance: two
lay it down, the others have to meet it. With two rounds of five waits and a first bound of
500 ms that is below 1 in 10^5 (none in 10^6 drawn ones), with one round of ten and that bound
for six of them too. Of a single round of five it is 1 in 300: that is too few to blame anybody.
Not judged: what causes the waits, and whether bounds are sensible.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import log
from statistics import fmean, median
from typing import Literal

Shape = Literal["jittered", "exponential", "linear", "constant"]
MIN_WAITS = 5
NOISE_MS = 100.0  # what a loaded machine, and setting up a socket, adds or takes
_NOISE_SHARE = 0.05
_MIN_FITTED = 4  # of a round: three points lie near a line too easily
_RATIOS = [1.15 + 0.01 * step for step in range(300)]  # of an exponential one's waits
# Logarithms of likelihood ratios: from there on growth is taken as seen, or as absent.
_GROWS, _GROWS_NOT = 3.0, -5.0
_FACTORS = (2.0, 1.5, 3.0)
_LATEST_START = 5  # waits before bounds begin to grow

Rounds = Sequence[Sequence[float]]
_Schedule = Callable[[int], float]


@dataclass(frozen=True)
class BackoffShape:
    """``grows``: whether the waits become longer, or their bounds do; None: not to be told.

    ``text`` is a line for people.
    """

    shape: Shape
    grows: bool | None
    text: str


def tolerance_ms(wait_ms: float) -> float:
    """How far from ``wait_ms`` a wait may be that is meant to be so long."""
    return max(NOISE_MS, _NOISE_SHARE * wait_ms)


def classify(rounds: Rounds) -> BackoffShape:
    """The shape of waits in milliseconds; `ValueError` for fewer than `MIN_WAITS` of them."""
    waits = [wait for one in rounds for wait in one]
    if len(waits) < MIN_WAITS:
        raise ValueError(f"{len(waits)} waits, want at least {MIN_WAITS}")
    said = f"{len(waits)} waits in {len(rounds)} round" + "s" * (len(rounds) > 1)
    said += f" of {_time(min(waits))} to {_time(max(waits))}: "
    if max(waits) <= NOISE_MS:
        return BackoffShape("constant", False, said + "none to speak of")
    scheduled = _scheduled(rounds)
    if scheduled is None and all(one and one[0] <= NOISE_MS for one in rounds):
        # Many try once more at once, and then begin to wait.
        scheduled = _scheduled([one[1:] for one in rounds])
        said += "none before the second attempt, then " if scheduled else ""
    if scheduled:
        shape, words = scheduled
        return BackoffShape(shape, shape != "constant", said + words)
    grows = _bounds_grow(rounds)
    words = {True: "growing bounds", False: "bounds that do not grow", None: "bounds"}[grows]
    return BackoffShape("jittered", grows, f"{said}random within {words}")


def _scheduled(rounds: Rounds) -> tuple[Shape, str] | None:
    """The schedule that all ``rounds`` follow, in words; None if they follow none."""
    waits = [wait for one in rounds for wait in one]
    if max(map(len, rounds)) < _MIN_FITTED:
        return None
    for same in zip(*rounds, strict=False):  # each round is the same, on a schedule
        if max(same) - min(same) > 2 * tolerance_ms(max(same)):
            return None
    middle = median(waits)
    if all(abs(wait - middle) <= tolerance_ms(middle) for wait in waits):
        return "constant", f"always {_time(middle)}"
    points, cap = _before_cap(rounds)
    if len({number for number, _wait in points}) < _MIN_FITTED - 1:
        return None
    found: list[tuple[float, Shape, str]] = []
    first, step = _line(points)
    if step * len({number for number, _wait in points}) > 2 * NOISE_MS:
        off = _worst(rounds, lambda number: min(first + step * number, cap))
        found.append((off, "linear", f"each {_time(step)} longer than the one before"))
    for ratio in _RATIOS:
        scale = _scale(points, ratio)
        off = _worst(rounds, lambda number, r=ratio, a=scale: min(a * r**number, cap))  # type: ignore[misc]
        found.append((off, "exponential", f"each {ratio:.1f} times as long as the one before"))
    off, shape, words = min(found)
    return (shape, words) if off <= 1 else None


def _before_cap(rounds: Rounds) -> tuple[list[tuple[int, float]], float]:
    """(number in its round, wait) of those before the longest wait is reached, and that wait,
    which is no cap where it does not come twice in a row."""
    longest = max(wait for one in rounds for wait in one)

    def is_longest(wait: float) -> bool:
        return abs(wait - longest) <= tolerance_ms(longest)

    reached = [next(at for at, wait in enumerate([*one, longest]) if is_longest(wait))
               for one in rounds]  # fmt: skip
    is_cap = all(
        len(one) - at >= 2 and all(map(is_longest, one[at:]))
        for one, at in zip(rounds, reached, strict=True)
    )
    ends = reached if is_cap else [len(one) for one in rounds]
    points = [
        (number, wait)
        for one, end in zip(rounds, ends, strict=True)
        for number, wait in enumerate(one[:end])
    ]
    return points, longest if is_cap else float("inf")


def _line(points: Sequence[tuple[int, float]]) -> tuple[float, float]:
    """First wait and step of the line of least squares."""
    mean_number, mean_wait = fmean(n for n, _ in points), fmean(wait for _, wait in points)
    spread = sum((number - mean_number) ** 2 for number, _ in points)
    step = sum((number - mean_number) * (wait - mean_wait) for number, wait in points) / spread
    return mean_wait - step * mean_number, step


def _scale(points: Sequence[tuple[int, float]], ratio: float) -> float:
    """The first wait of the exponential schedule nearest to ``points``.

    As shares of each, since a schedule's tolerance is one.
    """
    return median(wait / ratio**number for number, wait in points)


def _worst(rounds: Rounds, schedule: _Schedule) -> float:
    """The largest distance from ``schedule``, in tolerances."""
    return max(
        abs(wait - schedule(number)) / tolerance_ms(schedule(number))
        for one in rounds
        for number, wait in enumerate(one)
    )


def _bounds_grow(rounds: Rounds) -> bool | None:
    """Whether random waits are better explained by bounds that grow than by one bound.

    Each wait is taken as drawn evenly from 0 to its bound; the bounds that explain a series
    best are the lowest that it keeps to. A device may try a few times before they grow.
    """
    starts = range(min(_LATEST_START, max(map(len, rounds)) - MIN_WAITS) + 1)
    found = [_likelihood(rounds, factor, start) for factor in _FACTORS for start in starts]
    if max(found, default=0.0) > _GROWS:
        return True
    latest = _likelihood(rounds, _FACTORS[0], max(starts, default=0))
    return False if latest < _GROWS_NOT else None


def _likelihood(rounds: Rounds, factor: float, start: int) -> float:
    """Logarithm of the likelihood ratio: bounds that grow by ``factor`` from the wait number
    ``start`` on, to a bound that stays."""
    # Of a wait below a millisecond nothing more is known.
    waits = [(max(number - start, 0), max(wait, 1.0)) for one in rounds
             for number, wait in enumerate(one)]  # fmt: skip
    constant = max(wait for _, wait in waits)
    first = max(wait / factor**steps for steps, wait in waits)
    return len(waits) * log(constant / first) - sum(steps for steps, _ in waits) * log(factor)


def _time(wait_ms: float) -> str:
    return f"{wait_ms:.0f} ms" if wait_ms < 1000 else f"{wait_ms / 1000:.1f} s"
