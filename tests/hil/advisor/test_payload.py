"""Messages up to 128 KB, the most that AWS IoT Core carries: acknowledged, or refused in words.

A device with less memory than that may say so: in MQTT 5.0 by a Maximum Packet Size or a
DISCONNECT with reason 0x95, otherwise by taking what is too large for it and going on.
"""

from __future__ import annotations

import pytest
from traffic import LIMIT_S, command_topic, harmless

pytestmark = pytest.mark.rung("traffic")
SIZES = (0, 1 << 10, 4 << 10, 16 << 10, 64 << 10, 128 << 10)
_FIRST_S, _BYTES_PER_S = 15.0, 4096  # a device's own TLS may be slow
_OVERHEAD_BYTES = 16  # of a PUBLISH beside topic and payload, at most
_PACKET_TOO_LARGE = 0x95


def test_messages_up_to_128_kb_are_acknowledged(request, device, version, scripted, case) -> None:
    case.criterion(
        "QoS 1 messages of up to 128 KB are acknowledged, or those that are too large are said "
        "to be (Maximum Packet Size, reason 0x95) or left aside while the connection stands."
    )
    session = scripted.live()
    topic = command_topic(device, scripted)
    most = session.connect.properties.get("maximum-packet-size")
    taken = []
    for size in SIZES:
        if most is not None and size + len(topic) + _OVERHEAD_BYTES > most:
            case.warn(f"it takes packets of up to {most} bytes, and says so in its CONNECT")
            break
        packet_id = scripted.publish(topic, harmless(size), qos=1)
        limit_s = _FIRST_S + size / _BYTES_PER_S

        def is_answer(packet, packet_id=packet_id) -> bool:
            return packet.packet_id == packet_id

        answer = scripted.find_packet("PUBACK", is_answer, limit_s if session.is_open else 0)
        if answer is None:
            judge_refusal(scripted, session, topic, size, case)
            break
        assert answer.packet.code < 0x80, f"it refused {size} bytes: {answer}"
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


def judge_refusal(scripted, session, topic: str, size: int, case) -> None:
    """What it made of a message of ``size`` bytes that it did not acknowledge."""
    if not session.is_open:
        last = [one for one in scripted.received("DISCONNECT") if one.connection == session.number]
        said = last[-1].packet.code if last else 0
        assert said == _PACKET_TOO_LARGE, (
            f"a message of {size} bytes ended the connection, and it did not say why: {session.end}"
        )
        case.warn(f"it refused {size} bytes by a DISCONNECT with reason 0x95, packet too large")
        scripted.wait_session(LIMIT_S)
        return
    packet_id = scripted.publish(topic, harmless(16), qos=1)
    after = scripted.find_packet("PUBACK", lambda packet: packet.packet_id == packet_id, LIMIT_S)
    assert after is not None, (
        f"after a message of {size} bytes, which it did not acknowledge, it takes no other"
    )
    case.warn(f"it did not acknowledge {size} bytes, and went on")
