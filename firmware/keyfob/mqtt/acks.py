"""Acknowledgements beside the usual PUBACK: QoS 2, reason codes, those nobody waits for.

MQTT 3.1.1 and 5.0, sections 3.4 to 3.7 and 4.3. Imported when one comes. The functions
work on a `session.Session`.
"""

from micropython import const

from keyfob.errors import KeyfobError
from keyfob.mqtt.publish import malformed

_PUBREC = const(5)
_PUBREL = const(6)
_PUBCOMP = const(7)
_MOST_HELD = const(256)


def read_ack(session, at: int, end: int) -> int:
    """The event of a PUBACK, PUBREC, PUBREL or PUBCOMP; -1 if it makes none."""
    rx = session.rx
    kind = rx[session.start] >> 4
    packet_id = rx[at] << 8 | rx[at + 1] if end - at > 1 else 0
    if not packet_id or (end - at > 2 and session.version == 4):
        raise malformed("identifier %d, packet type %d, length" % (packet_id, kind), end - at)
    code = 0
    if end - at > 2:
        from keyfob.mqtt.reasons import read_code

        code = read_code(session, at + 2, end, kind)
    elif session.version > 4:
        session.properties = None
    if kind == _PUBREL:
        if packet_id in session.kept.held:
            session.kept.held.remove(packet_id)
        session.replies.append(0x700000 | packet_id)
        return -1
    for outgoing in session.inflight:
        if outgoing.packet_id == packet_id:
            break
    else:
        # PUBACK, PUBCOMP, a refusal: of a duplicate that the first answer overtook.
        if kind == _PUBREC and code < 128:
            session.replies.append(0x620000 | packet_id)
        return -1
    if outgoing.awaits == kind and (kind != _PUBREC or code >= 128):
        # PUBCOMP's one reason code, 0x92, is no error while recovering (3.7.2.1 of 5.0).
        return session.acknowledge(outgoing, 0 if kind == _PUBCOMP else code)
    if outgoing.awaits == _PUBCOMP and kind == _PUBREC:
        return -1  # PUBREL is on its way
    if outgoing.awaits != _PUBREC or kind != _PUBREC:
        detail = "packet type %d for identifier %d" % (kind, packet_id)
        raise KeyfobError("mqtt.unexpected", detail)
    session.outgoing = outgoing
    outgoing.code = code
    outgoing.awaits = _PUBCOMP
    outgoing.payload = None  # never sent again
    session.replies.append(0x620000 | packet_id)
    return kind


def is_held(session, packet_id: int) -> bool:
    """Whether a PUBLISH of QoS 2 came before; otherwise it is held from now on."""
    if packet_id in session.kept.held:
        session.replies.append(0x500000 | packet_id)
        return True
    if len(session.kept.held) >= _MOST_HELD:
        raise KeyfobError("mqtt.unexpected", "%d messages of QoS 2" % _MOST_HELD)
    session.kept.held.append(packet_id)
    return False
