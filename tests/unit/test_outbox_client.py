"""The client empties its outbox: one at a time, in order, over connections and restarts."""

import asyncio
import io

from outbox_client import HEAD, TOPIC, answer, first_id, publish, sent, with_outbox
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

from keyfob import outbox


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
