"""What of an MQTT session survives its connections. MQTT 3.1.1 and 5.0, section 4.1.

It is here alone while there is no connection: `session` and the rest are imported for one.
"""

from os import urandom

from micropython import const

_TICKS_MASK = const(0x3FFF_FFFF)
_LAST_ID = const(0xFEFF)  # as in `keyfob.mqtt.session`


class Outgoing:
    """A PUBLISH on its way. ``size`` is given if ``payload`` is read while it is sent."""

    packet_id = 0
    awaits = 0  # type of the packet that acknowledges it; 0 until it was sent
    code = 0  # reason code of that packet
    sent_ms = 0
    size = -1
    properties = None
    # The caller's: whether it is over, who waits for that, and what came of it.
    is_done = False
    event = error = answer = token = None

    def __init__(self, topic: str, payload, qos: int, retain: bool) -> None:
        self.topic = topic
        self.payload = payload
        self.qos = qos
        self.retain = retain


class SessionState:
    """``inflight``: what was published and not acknowledged, in the order of its first
    sending. ``receipts``: [packet identifier, QoS, is handled] of each message that the
    application has, in order. ``held``: identifiers of QoS 2 from PUBLISH to PUBREL.
    ``last_id``: the packet identifier that was taken last; any, to begin with. ``replies``:
    first byte << 16 | packet identifier of each acknowledgement that this connection has not
    sent."""

    def __init__(self) -> None:
        self.inflight: list[Outgoing] = []
        self.receipts: list[list] = []
        self.held: list[int] = []
        # The broker may hold one of the time before a reset half-way in an exchange of QoS 2,
        # and would take a new message with it for that one (section 4.3.3).
        self.last_id = int.from_bytes(urandom(2), "big") % _LAST_ID
        self.replies: list[int] = []

    def handled(self, receipt: list) -> None:
        """The application is done with the message of ``receipt``: acknowledge it.

        In the order in which the messages came (section 4.6), so perhaps later. A receipt
        from before a new session is worth nothing, and what is acknowledged without a
        connection the broker sends again.
        """
        receipt[2] = True
        receipts = self.receipts
        while receipts and receipts[0][2]:
            packet_id, qos, _ = receipts.pop(0)
            self.replies.append((0x300000 + (qos << 20)) | packet_id)

    def forget(self, receipt: list) -> None:
        """The message of ``receipt`` was not received whole; the broker sends it again."""
        if receipt in self.receipts:
            self.receipts.remove(receipt)
            if receipt[1] == 2:
                self.held.remove(receipt[0])


def since(then_ms: int, now_ms: int) -> int:
    """Milliseconds from one to the other."""
    # Counters wrap at 2**30 on 32-bit ports; an interval is right modulo that.
    return (now_ms - then_ms) & _TICKS_MASK
