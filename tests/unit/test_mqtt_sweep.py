"""The long run of the mutated packets, and the same under hypothesis; CPython only."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_mqtt_session import feed, opened, sweep

from keyfob.errors import KeyfobError


@pytest.mark.slow
def test_twenty_thousand_mutated_packets_raise_nothing_but_our_own_error():
    assert sweep(20_000) > 10_000


@given(st.binary(max_size=200), st.integers(1, 50))
def test_no_bytes_at_all_raise_anything_but_our_own_error(data, piece):
    try:
        feed(opened(), data, piece)
    except KeyfobError as error:
        assert error.code.startswith("mqtt.")
