"""The client empties its outbox: one at a time, in order, over connections and restarts."""

import asyncio
import io

from device_support import new_folder, remove_folder
from scripted_broker import (
    CONNACK,
    CONNACK5,
    PRESENT,
    Link,
    codes,
    outcome,
    play,
    play5,
    settle,
    until,
)

from keyfob import outbox, stored
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


def test_a_stored_publish_returns_before_there_is_a_connection():
    def check(open_outbox):
        box = open_outbox()

        async def test(client, link):
            await client.publish(TOPIC, b"x", 1, store=True)
            assert box.count == 1
            link.say(CONNACK)
            await settle()
            packet_id = 0xFF00 | (box._seq - 1) & 0xFF
            assert sent(link) == [publish(0x32, packet_id, b"x")]
            assert box.count == 1
            link.say(answer(0x40, packet_id))
            await settle()
            assert box.count == 0 and open_outbox().next() is None

        play(test, Link(b""), outbox=box)

    with_outbox(check)


def test_stored_messages_go_one_at_a_time_in_their_order():
    def check(open_outbox):
        box = open_outbox()

        async def test(client, link):
            await client.connected()
            for payload in (b"1", b"2", b"3"):
                await client.publish(TOPIC, payload, 1, store=True)
            await settle()
            for number in range(3):
                packets = sent(link)
                assert len(packets) == number + 1
                assert packets[-1][-1:] == b"%d" % (number + 1)
                link.say(b"\x40\x02" + packets[-1][-3:-1])
                await settle()
            assert box.count == 0

        play(test, Link(CONNACK), outbox=box)

    with_outbox(check)


def test_after_a_restart_the_oldest_goes_out_with_dup_and_its_identifier():
    def check(open_outbox):
        open_outbox().put(TOPIC, b"x", 1, False)
        before = first_id(open_outbox())

        async def test(client, link):
            await client.connected()
            await settle()
            assert sent(link) == [publish(0x3A, before, b"x")]
            link.say(answer(0x40, before))
            await settle()

        play(test, Link(PRESENT), outbox=open_outbox())
        assert open_outbox().next() is None

    with_outbox(check)


def test_pubrec_is_stored_before_pubrel_is_sent():
    def check(open_outbox):
        box = open_outbox()
        states = []

        async def test(client, link):
            await client.connected()
            await client.publish(TOPIC, b"x", 2, store=True)
            await settle()
            packet_id = int.from_bytes(sent(link)[0][-3:-1], "big")
            write_now = link.write_now

            def watched(view):
                if bytes(view[:1]) == b"\x62":
                    states.append(open_outbox().next()[7])
                return write_now(view)

            link.write_now = watched
            link.say(answer(0x50, packet_id))
            await settle()
            assert states == [True]
            assert sent(link)[-1] == answer(0x62, packet_id)
            assert box.count == 1
            link.say(answer(0x70, packet_id))
            await settle()
            assert box.count == 0

        play(test, Link(CONNACK), outbox=box)

    with_outbox(check)


def test_after_a_restart_a_released_message_is_pubrel_alone():
    def check(open_outbox):
        box = open_outbox()
        box.put(TOPIC, b"x", 2, False)
        box.put(TOPIC, b"y", 2, False)
        token, packet_id = box.next()[0], 0
        box.released(token)
        packet_id = first_id(open_outbox())

        async def test(client, link):
            await client.connected()
            await settle()
            assert sent(link) == [answer(0x62, packet_id)]
            link.say(answer(0x70, packet_id))
            await settle()
            assert sent(link)[1][0] == 0x34 and sent(link)[1][-1:] == b"y"

        play(test, Link(PRESENT), outbox=open_outbox())
        assert open_outbox().count == 1

    with_outbox(check)


def test_a_released_message_is_done_if_the_broker_forgot_the_session():
    def check(open_outbox):
        box = open_outbox()
        box.put(TOPIC, b"x", 2, False)
        box.released(box.next()[0])

        async def test(client, link):
            await client.connected()
            await settle()
            assert sent(link) == []

        play(test, Link(CONNACK), outbox=open_outbox())
        assert open_outbox().count == 0

    with_outbox(check)


def test_a_lost_connection_loses_no_stored_message():
    def check(open_outbox):
        box = open_outbox()

        async def test(client, first, second):
            await client.connected()
            await client.publish(TOPIC, b"x", 2, store=True)
            await settle()
            packet = sent(first)[0]
            first.cut()
            await asyncio.sleep_ms(100)
            assert sent(second) == [bytes((packet[0] | 8,)) + packet[1:]]
            second.say(b"\x50\x02" + packet[-3:-1])
            await settle()
            second.say(b"\x70\x02" + packet[-3:-1])
            await settle()
            assert box.count == 0

        play(test, Link(CONNACK), Link(PRESENT), outbox=box)

    with_outbox(check)


def test_a_flash_that_fails_to_mark_keeps_the_message_and_the_connection():
    def check(open_outbox):
        box = open_outbox()

        def failing(path, mode="rb"):
            if mode == "rb":
                return open(path, mode)
            raise OSError(28)

        async def test(client, link):
            await client.connected()
            await client.publish(TOPIC, b"x", 1, store=True)
            await settle()
            outbox.open = failing
            try:
                link.say(b"\x40\x02" + sent(link)[0][-3:-1])
                await settle()
            finally:
                del outbox.open
            assert box.count == 1 and client.is_connected()

        console = play(test, Link(CONNACK), outbox=box)
        assert "mqtt.outbox-failed" in [event["code"] for event in console.named("error")]

    with_outbox(check)


def test_properties_go_out_with_their_message():
    def check(open_outbox):
        box = open_outbox()

        async def test(client, link):
            await client.connected()
            expiry = {"message_expiry_interval": 3600}
            await client.publish(TOPIC, b"x", 1, store=True, properties=expiry)
            await settle()
            packet = sent(link)[0]
            # MQTT 5.0 section 3.3.2: topic, identifier, length of the properties, these.
            assert packet[2:17] == HEAD and packet[19:] == b"\x05\x02\0\0\x0e\x10x"
            link.say(b"\x40\x02" + packet[17:19])
            await settle()
            assert box.count == 0

        play5(test, Link(CONNACK5), outbox=box)

    with_outbox(check)


def test_properties_make_no_difference_to_a_broker_of_version_4():
    def check(open_outbox):
        open_outbox().put(TOPIC, b"x", 1, False, {"message_expiry_interval": 3600})
        packet_id = first_id(open_outbox())

        async def test(client, link):
            await client.connected()
            await settle()
            assert sent(link) == [publish(0x3A, packet_id, b"x")]

        play(test, Link(PRESENT), outbox=open_outbox())

    with_outbox(check)


def test_a_stored_message_with_properties_too_large_for_the_buffer_is_told():
    def check(open_outbox):
        box = open_outbox()
        box.put(TOPIC, b"x" * 200, 1, False, {"correlation_data": bytes(400)})
        box.put(TOPIC, b"y", 1, False)

        async def test(client, link):
            await until(lambda: len(sent(link)) == 1)
            assert sent(link)[0][-1:] == b"y"
            assert box.count == 1

        console = play5(test, Link(CONNACK5), outbox=box, tx_bytes=512, payload_bytes=256)
        assert codes(console) == ["mqtt.too-large"]

    with_outbox(check)


def test_what_cannot_be_stored_is_refused_at_once():
    def check(open_outbox):
        box = open_outbox()

        async def with_one(client, link):
            streamed = (3, io.BytesIO(b"abc"))
            for payload in (streamed, "21.5", "21.5 °C"):
                publishing = client.publish(TOPIC, payload, 1, store=True)
                assert await outcome(publishing) == "mqtt.bad-property"
            assert box.count == 0
            await client.publish(TOPIC, b"x", 1, store=True)
            assert drained_count(open_outbox()) == 1

        async def without_one(client, link):
            publishing = client.publish(TOPIC, b"x", 1, store=True)
            assert await outcome(publishing) == "mqtt.bad-property"

        play(with_one, Link(b""), outbox=box)
        play(without_one, Link(b""))

    with_outbox(check)


def drained_count(box):
    """How many messages it has, by looking at each."""
    count = 0
    while True:
        message = box.next()
        if not message:
            return count
        box.done(message[0])
        count += 1


def test_no_pubrel_is_sent_before_its_pubrec_could_be_stored():
    def check(open_outbox, error, code):
        box = open_outbox()

        def failing(path, mode="rb"):
            if mode == "rb":
                return open(path, mode)
            raise error

        async def test(client, first, second):
            await client.connected()
            await client.publish(TOPIC, b"x", 2, store=True)
            await settle()
            packet = sent(first)[0]
            packet_id = int.from_bytes(packet[-3:-1], "big")
            outbox.open = failing
            try:
                first.say(answer(0x50, packet_id))
                await until(lambda: first.is_closed)
            finally:
                del outbox.open
            await until(lambda: len(sent(second)) == 1)
            assert sent(first) == [packet]
            # The broker holds it, so the same again is the same message; and so it would be
            # after a power cut.
            assert sent(second) == [bytes((packet[0] | 8,)) + packet[1:]]
            assert open_outbox().next()[5:8] == (packet_id, True, False)
            second.say(answer(0x50, packet_id))
            await settle()
            assert open_outbox().next()[7]
            assert sent(second)[1:] == [answer(0x62, packet_id)]
            second.say(answer(0x70, packet_id))
            await settle()
            assert box.count == 0

        console = play(test, Link(CONNACK), Link(PRESENT), outbox=box)
        assert codes(console) == [code]

    with_outbox(lambda opened: check(opened, OSError(5), "mqtt.outbox-failed"))
    with_outbox(lambda opened: check(opened, MemoryError("allocating"), "tls.no-memory"))


class Shortage:
    """Memory is short at the calls of ``owner.name`` with these numbers, from 0 on; ``is_late``:
    once they have done their work."""

    def __init__(self, owner, name, *numbers, is_late=False):
        self._real = getattr(owner, name)
        self._numbers, self._is_late, self.calls = numbers, is_late, 0
        setattr(owner, name, self)

    def __call__(self, *arguments):
        self.calls += 1
        if self._is_late:
            self._real(*arguments)
        if self.calls - 1 in self._numbers:
            raise MemoryError("allocating")
        return None if self._is_late else self._real(*arguments)


def with_short_retries(test, *arguments):
    """Call ``test(open, …)`` as `with_outbox` does; what failed is tried again after 20 ms."""
    # Not `_RETRY_MS`, which is part of the code where that is compiled.
    real = stored.asyncio.sleep_ms

    class Asyncio:
        Event = asyncio.Event

        def sleep_ms(self, ms):
            assert ms == 10_000
            return real(20)

    stored.asyncio = Asyncio()
    try:
        with_outbox(lambda open_outbox: test(open_outbox, *arguments))
    finally:
        stored.asyncio = asyncio


def check_drained(open_outbox, is_short, qos=1):
    """Three stored messages arrive and are acknowledged, each of them sent once, although
    ``is_short(client, box)`` makes memory short; the codes that were told."""
    box = open_outbox()

    async def test(client, link):
        await client.connected()
        is_short(client, box)
        for payload in (b"1", b"2", b"3"):
            await client.publish(TOPIC, payload, qos, store=True)
        answered = 0
        while box.count:
            await settle(2)
            packets = sent(link)
            if qos and answered < len(packets):
                link.say(b"\x40\x02" + packets[answered][-3:-1])
                answered += 1
        assert [packet[-1:] for packet in sent(link)] == [b"1", b"2", b"3"]
        assert client.is_connected()

    return codes(play(test, Link(CONNACK), outbox=box))


def test_memory_that_is_short_for_a_moment_ends_nothing():
    def is_short_for_the_oldest(client, box):
        Shortage(box, "next", 0, 1, 3)

    def is_short_for_the_head(client, box):
        Shortage(box._head, "read", 0, 2)

    def is_short_for_the_mark(client, box):
        Shortage(box, "done", 0, 2)

    def is_short_behind_the_mark(client, box):
        Shortage(box, "done", 0, 2, is_late=True)

    def is_short_before_sending(client, box):
        Shortage(client, "check_fits", 3, 5)  # `publish` asks, too

    def is_short_for_the_list(client, box):
        real = client.send

        def send(outgoing, need):
            client.send = real
            if outgoing.qos:
                outgoing.awaits = 4
            raise MemoryError("allocating")

        client.send = send

    def is_short_for_the_copy(client, box):
        Shortage(stored, "Outgoing", 1)

    real = stored.Outgoing
    for is_short in (
        is_short_for_the_oldest, is_short_for_the_head, is_short_for_the_mark,
        is_short_behind_the_mark, is_short_before_sending, is_short_for_the_list,
        is_short_for_the_copy,
    ):  # fmt: skip
        for qos in (0, 1):
            with_short_retries(check_told, is_short, qos)
            stored.Outgoing = real


def test_what_could_not_be_written_for_want_of_memory_is_written_later():
    def is_short(client, box):
        Shortage(client, "flush_now", 0)

    with_short_retries(check_told, is_short, 1)


def check_told(open_outbox, is_short, qos):
    told = check_drained(open_outbox, is_short, qos)
    assert told and set(told) == {"tls.no-memory"}, is_short
