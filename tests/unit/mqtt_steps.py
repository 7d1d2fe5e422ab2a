"""A session that is taken through its steps; packets are laid out by hand after MQTT 3.1.1."""

from keyfob.errors import KeyfobError
from keyfob.mqtt import connect
from keyfob.mqtt.session import Session
from keyfob.mqtt.state import Outgoing

# Events are numbered as the packets are, section 2.2.1.
OPENED, PUBLISH, PUBACK, PUBREC, SUBACK, UNSUBACK, PINGRESP, PART = 2, 3, 4, 5, 9, 11, 13, 16

CONNACK = b"\x20\x02\x00\x00"
PRESENT = b"\x20\x02\x01\x00"
MESSAGE = b"\x32\x09\x00\x03a/b\x00\x0ahi"  # QoS 1, identifier 10
EXACTLY_ONCE = b"\x34\x09\x00\x03a/b\x00\x0ahi"


def facts(made, event):
    """The event with what it says, as a tuple that can be compared."""
    if event == PUBLISH:
        receipt = made.receipt and made.receipt[0]
        return PUBLISH, made.topic, bytes(made.payload), made.qos, made.retain, receipt
    if event in (PUBACK, PUBREC, SUBACK, UNSUBACK):
        return event, made.outgoing.packet_id, made.outgoing.code
    if event == PART:
        return event, bytes(made.payload)
    return (event,)


def feed(to, data, piece=1000):
    """All events of ``data``, given in pieces."""
    events = []
    at = 0
    while at < len(data):
        room = to.room()
        part = data[at : at + min(piece, len(room))]
        room[: len(part)] = part
        to.received(len(part))
        at += len(part)
        event = to.next_event()
        while event:
            events.append(facts(to, event))
            event = to.next_event()
    return events


def start(made, connack=CONNACK):
    connect.connect(made, 0, "id", 30, False)
    taken(made)
    feed(made, connack)
    return made


def opened(rx_bytes=256, tx_bytes=256, window=8):
    return start(Session(rx_bytes, tx_bytes, window))


def taken(made):
    """What is to be sent, as bytes, and it is sent."""
    size = made.pack()
    data = bytes(made.tx[:size])
    made.sent(size)
    return data


def publish(made, qos=1, topic="a", payload=b"x", now_ms=0):
    outgoing = Outgoing(topic, payload, qos, False)
    made.publish(now_ms, outgoing)
    return outgoing


def handle(made):
    made.kept.handled(made.receipt)


SEEDS = (
    CONNACK, MESSAGE, b"\x30\x03\x00\x01a", b"\x40\x02\x00\x01", b"\x90\x03\x00\x01\x01",
    b"\xb0\x02\x00\x01", b"\xd0\x00", b"\x3b\x0c\x00\x05a/b/c\x12\x34abc",
    b"\x50\x02\x00\x02", b"\x62\x02\x00\x0a", b"\x70\x02\x00\x02",
)  # fmt: skip
REFUSALS = ("mqtt.malformed", "mqtt.unexpected", "mqtt.too-large")


def sweep(rounds, seeds=SEEDS, make=opened, refusals=REFUSALS):
    """Mutated packets into a session: events or a `KeyfobError`, and nothing else."""
    state = 12345
    refused = 0
    for count in range(rounds):
        packet = bytearray(seeds[count % len(seeds)] + seeds[count // 7 % len(seeds)])
        for _ in range(1 + count % 3):
            state = (state * 1103515245 + 12345) & 0x7FFFFFFF
            packet[(state >> 8) % len(packet)] = state >> 16 & 0xFF
        made = make(64, 64)
        publish(made, 1)
        publish(made, 2)
        try:
            feed(made, packet, 1 + count % 9)
        except KeyfobError as error:
            refused += 1
            assert error.code in refusals, error
    return refused
