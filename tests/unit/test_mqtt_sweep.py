"""The long run of the mutated packets, and the same under hypothesis; CPython only."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mqtt5_steps import REFUSALS, SEEDS
from mqtt5_steps import opened as opened5
from mqtt_steps import feed, opened, sweep

from keyfob.errors import KeyfobError


def test_five_thousand_mutated_packets_raise_nothing_but_our_own_error():
    assert sweep(3_000) > 1_500
    assert sweep(2_000, SEEDS, opened5, REFUSALS) > 1_000


@pytest.mark.slow
def test_a_hundred_thousand_mutated_packets_raise_nothing_but_our_own_error():
    assert sweep(50_000) > 25_000
    assert sweep(50_000, SEEDS, opened5, REFUSALS) > 25_000


@given(st.binary(max_size=200), st.integers(1, 50))
def test_no_bytes_at_all_raise_anything_but_our_own_error(data, piece):
    for made in (opened(), opened5()):
        try:
            feed(made, data, piece)
        except KeyfobError as error:
            assert error.code.startswith("mqtt.")
