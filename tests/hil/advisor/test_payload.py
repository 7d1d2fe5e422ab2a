"""Messages up to 128 KB, the most that AWS IoT Core carries: acknowledged, or refused in words.

A device with less memory than that may say so: in MQTT 5.0 by a Maximum Packet Size or a
DISCONNECT with reason 0x95, otherwise by taking what is too large for it and going on.
"""

from __future__ import annotations

import pytest
from traffic import CONNECTS_S, command_topic, deliver, harmless, warn_of_ends

pytestmark = [pytest.mark.rung("traffic"), pytest.mark.timeout(900)]
SIZES = (0, 1 << 10, 4 << 10, 16 << 10, 64 << 10, 128 << 10)
_FIRST_S, _BYTES_PER_S = 15.0, 4096  # a device's own TLS may be slow
_OVERHEAD_BYTES = 16  # of a PUBLISH beside topic and payload, at most
_PACKET_TOO_LARGE = 0x95


def test_messages_up_to_128_kb_are_acknowledged(request, device, version, scripted, case) -> None:
    case.criterion(
        "QoS 1 messages of up to 128 KB are acknowledged, or those that are too large are said "
        "to be (Maximum Packet Size, reason 0x95) or left aside while the connection stands."
    )
    topic = command_topic(device, scripted)
    taken = []
    for size in SIZES:
        session = scripted.wait_session(CONNECTS_S)
        most = session.connect.properties.get("maximum-packet-size")
        if most is not None and size + len(topic) + _OVERHEAD_BYTES > most:
            case.warn(f"it takes packets of up to {most} bytes, and says so in its CONNECT")
            break
        done = deliver(scripted, topic, harmless(size), _FIRST_S + size / _BYTES_PER_S)
        if done.answer is None:
            judge_refusal(scripted, done, topic, size, case)
            break
        assert done.answer.packet.code < 0x80, f"it refused {size} bytes: {done.answer}"
        warn_of_ends(done, f"a message of {size} bytes", case)
        taken.append(size)
    case.measure("acknowledged payloads", taken, unit="bytes")
    if device.knows("serial"):
        warn_of_left_aside(request.getfixturevalue("board"), case)


def warn_of_left_aside(board, case) -> None:
    """A board of Keyfob's acknowledges what it has no room for, and tells its console."""
    errors = [one for one in board.events("error") if one.get("code") == "mqtt.too-large"]
    if errors:
        case.evidence("on its console", "\n".join(map(str, errors)))
        case.warn(
            f"it acknowledged {len(errors)} of them and left them aside, as its console says, "
            f"the first with: {errors[0].get('detail')}"
        )


def judge_refusal(scripted, done, topic: str, size: int, case) -> None:
    """What it made of a message of ``size`` bytes that it did not acknowledge."""
    if done.ends:
        said = [one.packet.code for one in scripted.received("DISCONNECT")]
        assert _PACKET_TOO_LARGE in said, (
            f"a message of {size} bytes ended the connection, {len(done.ends)} times, and it did "
            f"not say why: {done.ends[-1]}"
        )
        case.warn(f"it refused {size} bytes by a DISCONNECT with reason 0x95, packet too large")
        return
    after = deliver(scripted, topic, harmless(16))
    assert after.answer, (
        f"after a message of {size} bytes, which it did not acknowledge, it takes no other"
    )
    case.warn(f"it did not acknowledge {size} bytes, and went on")
