"""Properties of MQTT 5.0: those that a device sends, and those that come to it."""

from __future__ import annotations

import pytest
from traffic import LIMIT_S, command_topic, deliver, first_publish, harmless, warn_of_ends

pytestmark = [pytest.mark.rung("traffic"), pytest.mark.timeout(900)]
_WATCHED_S = 10.0


def test_user_property_is_published(version_5, scripted, case) -> None:
    case.criterion("The device publishes a message with a user property (MQTT 5.0, 3.3.2.3.7).")
    first_publish(scripted)
    seen = scripted.find_packet(
        "PUBLISH", lambda packet: "user-property" in packet.properties, _WATCHED_S
    )
    if seen is None:
        pytest.skip(f"it published no user property within {_WATCHED_S:g} s")
    case.evidence("message with a user property", str(seen))


def test_message_with_properties_is_acknowledged(device, version_5, scripted, case) -> None:
    case.criterion(
        "A QoS 1 message with properties, two user properties of one name among them, is "
        "acknowledged, and so is one behind it (MQTT 5.0, 3.3.2.3)."
    )
    topic = command_topic(device, scripted)
    properties = {
        "payload-format-indicator": 1,
        "message-expiry-interval": 3600,
        "content-type": "application/json",
        "response-topic": "keyfob/answers",
        "correlation-data": bytes(range(16)),
        "user-property": [("unit", "°C"), ("unit", "K")],
    }
    for given, what in ((properties, "the message"), (None, "the one behind it")):
        done = deliver(scripted, topic, harmless(64), properties=given)
        assert done.answer, f"{what} was not acknowledged within {LIMIT_S:g} s"
        warn_of_ends(done, what, case)
