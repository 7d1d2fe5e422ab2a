"""A session that outlives its connection, and one that the broker no longer has."""

from __future__ import annotations

import pytest
from traffic import CONNECTS_S, LIMIT_S, command_topic, deliver, harmless, subscribed, warn_of_ends

from keyfob_host.hil.topic_filters import covers

pytestmark = [pytest.mark.rung("mqtt"), pytest.mark.timeout(900)]
_SETTLED_S = 3.0  # so long after its CONNACK a device may still subscribe


def test_session_is_taken_up_again(device, scripted, case) -> None:
    case.criterion(
        "On a session that the broker kept, the device takes the messages that waited for it, "
        "and does not subscribe again."
    )
    before = scripted.wait_session(CONNECTS_S)
    topic = command_topic(device, scripted)
    if before.connect.clean_start:
        pytest.skip("it asks for a clean session with each connection, so there is none to keep")
    scripted.session_present = True
    had = set(scripted.subscriptions())  # it may not have asked for the others yet
    scripted.disconnect("cut")
    scripted.mark()
    after = scripted.wait_session(CONNECTS_S)
    assert not after.connect.clean_start, "it asked for a clean session this time"
    assert after.connect.client_id == before.connect.client_id, (
        f"it is another client now: {after.connect.client_id!r}, was {before.connect.client_id!r}"
    )
    done = deliver(scripted, topic, harmless(64))
    assert done.answer, f"the message that waited was not acknowledged within {LIMIT_S:g} s"
    warn_of_ends(done, "the message that waited", case)
    again = scripted.find_packet(
        "SUBSCRIBE",
        lambda packet: any(covers(one, topic) for one, _ in packet.filters),
        _SETTLED_S,
    )
    asked = [
        one
        for one in scripted.received("SUBSCRIBE")
        if one.connection == after.number and had & {name for name, _ in one.packet.filters}
    ]
    if again is not None or asked:
        case.evidence("subscribed again", "\n".join(map(str, asked)))
        case.warn("it subscribed again, although the broker said that it kept the session")


def test_lost_session_is_subscribed_anew(device, scripted, case) -> None:
    case.criterion(
        f"Where the broker lost the session, the device subscribes to all of it again within "
        f"{LIMIT_S:g} s."
    )
    scripted.wait_session(CONNECTS_S)
    subscribed(device, scripted)
    scripted.look(lambda: None, _SETTLED_S)  # for further filters
    wanted = set(scripted.subscriptions())
    scripted.session_present = False
    scripted.disconnect("cut")
    scripted.mark()
    after = scripted.wait_session(CONNECTS_S)

    def missing() -> set[str]:
        asked = [one for one in scripted.received("SUBSCRIBE") if one.connection >= after.number]
        return wanted - {name for one in asked for name, _ in one.packet.filters}

    scripted.look(lambda: None if missing() else True, LIMIT_S)
    assert not missing(), f"it did not subscribe to {', '.join(sorted(missing()))} again"
