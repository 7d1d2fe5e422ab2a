"""The shape of waits between attempts: known series, drawn ones, and real MQTT clients."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keyfob_host.hil.backoff_shape import MIN_WAITS, NOISE_MS, classify

NOISE = st.floats(0, NOISE_MS / 2)
SEEDS = st.integers(0, 2**32)


def rounds_of(
    schedule: Callable[[int], float], noise: st.DataObject, rounds: int, waits: int
) -> list[list[float]]:
    """``rounds`` rounds on ``schedule``, each wait a little longer than it is meant to be."""
    return [[schedule(n) + noise.draw(NOISE) for n in range(waits)] for _ in range(rounds)]


def full_jitter(draw: random.Random, first_ms: float, waits: int, start: int = 0) -> list[float]:
    """As AWS's article on exponential backoff and jitter has it; bounds up to 60 s."""
    bounds = [min(60_000, first_ms * 2 ** max(0, n - start)) for n in range(waits)]
    return [draw.uniform(0, bound) for bound in bounds]


@given(st.floats(0, 20_000), st.integers(1, 2), st.data())
def test_constant_waits_are_constant(wait_ms: float, rounds: int, data: st.DataObject) -> None:
    found = classify(rounds_of(lambda _: wait_ms, data, rounds, 5))
    assert (found.shape, found.grows) == ("constant", False)


@given(st.floats(300, 10_000), st.floats(0, 5_000), st.integers(1, 2), st.data())
def test_linear_waits_are_linear(
    step_ms: float, first_ms: float, rounds: int, data: st.DataObject
) -> None:
    found = classify(rounds_of(lambda n: first_ms + step_ms * n, data, rounds, 6))
    # A small step after a long first wait is like a small ratio.
    assert found.shape in ("linear", "exponential")
    if step_ms > first_ms:
        assert found.shape == "linear"
    assert found.grows


@given(st.floats(250, 4_000), st.floats(1.5, 3.5), st.integers(1, 2), st.data())
def test_exponential_waits_are_exponential(
    first_ms: float, ratio: float, rounds: int, data: st.DataObject
) -> None:
    found = classify(rounds_of(lambda n: first_ms * ratio**n, data, rounds, 6))
    assert (found.shape, found.grows) == ("exponential", True)


@given(st.floats(1_000, 4_000), st.data())
def test_exponential_waits_with_a_limit_are_exponential(
    first_ms: float, data: st.DataObject
) -> None:
    found = classify(rounds_of(lambda n: min(8 * first_ms, first_ms * 2**n), data, 2, 7))
    assert found.shape == "exponential"


def test_attempt_at_once_before_a_schedule_is_no_part_of_it() -> None:
    found = classify([[3, 1_000, 2_000, 4_000, 8_000]] * 2)
    assert found.shape == "exponential"
    assert "none before the second attempt" in found.text


@settings(max_examples=300)
@given(SEEDS, st.sampled_from([500, 1_000, 2_000]))
def test_full_jitter_is_never_taken_for_a_schedule(seed: int, first_ms: int) -> None:
    draw = random.Random(seed)
    assert classify([full_jitter(draw, first_ms, 5) for _ in range(2)]).shape == "jittered"


@settings(max_examples=100)
@given(SEEDS)
def test_equal_jitter_is_jittered_and_grows(seed: int) -> None:
    draw = random.Random(seed)
    rounds = [[draw.uniform(0.5, 1) * 1_000 * 2**n for n in range(5)] for _ in range(2)]
    found = classify(rounds)
    assert (found.shape, found.grows) == ("jittered", True)


@pytest.mark.parametrize(("start", "rounds", "waits"), [(0, 2, 5), (0, 1, 10), (5, 1, 10)], ids=str)
def test_bounds_of_full_jitter_are_seen_to_grow_nearly_always(
    start: int, rounds: int, waits: int
) -> None:
    draw = random.Random(1)
    found = [
        classify([full_jitter(draw, 500, waits, start) for _ in range(rounds)]).grows
        for _ in range(400)
    ]
    assert found.count(False) <= 4  # a warning by chance, and no failure
    assert found.count(True) >= 360


@pytest.mark.parametrize(("low", "high"), [(0, 500), (4_000, 6_000)])
def test_random_waits_within_one_bound_are_seen_not_to_grow(low: int, high: int) -> None:
    draw = random.Random(1)
    found = [
        classify([[draw.uniform(low, high) for _ in range(5)] for _ in range(2)])
        for _ in range(400)
    ]
    assert sum(one.grows is True for one in found) <= 12
    assert sum(one.grows is False for one in found) >= 340


def test_too_few_waits_have_no_shape() -> None:
    with pytest.raises(ValueError, match="4 waits, want at least 5"):
        classify([[1.0] * (MIN_WAITS - 1)])


def test_no_waits_at_all_are_said_to_be_none() -> None:
    assert "none to speak of" in classify([[1, 2, 0, 3, 1]]).text
