"""Topic filters, held against paho-mqtt's opinion of them."""

from __future__ import annotations

import paho.mqtt.client as paho
from hypothesis import given
from hypothesis import strategies as st

from keyfob_host.hil.topic_filters import covers, example_of

_LEVELS = st.lists(st.sampled_from(["a", "b", "+", ""]), min_size=1, max_size=4)
_TOPICS = st.lists(st.sampled_from(["a", "b", "c", ""]), min_size=1, max_size=5)


@given(_LEVELS, st.booleans(), _TOPICS)
def test_filter_takes_what_paho_says_it_takes(
    levels: list[str], has_rest: bool, topic: list[str]
) -> None:
    topic_filter = "/".join(levels + ["#"] * has_rest)
    name = "/".join(topic)
    if topic_filter and name:
        assert covers(topic_filter, name) == paho.topic_matches_sub(topic_filter, name)


@given(_LEVELS, st.booleans())
def test_example_is_a_topic_that_the_filter_takes(levels: list[str], has_rest: bool) -> None:
    topic_filter = "/".join(levels + ["#"] * has_rest)
    example = example_of(topic_filter)
    assert "+" not in example
    assert "#" not in example
    if topic_filter:
        assert paho.topic_matches_sub(topic_filter, example)


def test_shared_subscription_takes_the_topics_of_its_filter() -> None:
    assert covers("$share/group/devices/+/command", "devices/x/command")
    assert example_of("$share/group/devices/+/command") == "devices/keyfob/command"
