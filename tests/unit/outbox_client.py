"""A client with an outbox, and what it sends of it."""

from device_support import new_folder, remove_folder

from keyfob.outbox import Outbox

SETTINGS = {"messages": 50, "bytes": 8192, "when_full": "refuse"}
TOPIC = "devices/dev/r"
HEAD = b"\x00\x0ddevices/dev/r"


def with_outbox(test):
    """Call ``test(open)``; ``open()`` is the outbox as it is after power-on."""
    base = new_folder()
    try:
        test(lambda: Outbox(SETTINGS, base + "/outbox"))
    finally:
        remove_folder(base)


def publish(first, packet_id, payload):
    """The PUBLISH packet as MQTT 3.1.1 section 3.3 has it."""
    body = HEAD + bytes((packet_id >> 8, packet_id & 255)) + payload
    return bytes((first, len(body))) + body


def answer(first, packet_id):
    return bytes((first, 2, packet_id >> 8, packet_id & 255))


def sent(link):
    """What the client sent after CONNECT and its status."""
    return link.packets()[2:]


def first_id(box):
    """The identifier that its oldest message has."""
    packet_id = box.next()[5]
    box.rewind()
    return packet_id
