"""keyfob.client on a scripted broker: QoS 2, limits, handlers, pieces, MQTT 5.0."""

import asyncio
import io

from device_support import run
from test_client_session import CONNACK, READING, Link, World, play, settle

from keyfob.errors import KeyfobError

CONNACK5 = b"\x20\x03\x00\x00\x00"
PRESENT = b"\x20\x02\x01\x00"
GRANTED = b"\x90\x03\x00\x01\x01"


async def outcome(coroutine):
    """The code of the error that it ends with, or None."""
    try:
        await coroutine
    except KeyfobError as error:
        return error.code
    return None


def codes(console):
    return [event["code"] for event in console.named("error")]


async def until(condition):
    while not condition():
        await asyncio.sleep_ms(2)


def test_a_publish_of_qos_2_returns_with_its_pubcomp():
    async def test(client, link):
        await client.connected()
        task = asyncio.create_task(client.publish("a", b"x", qos=2))
        await settle()
        assert link.packets()[-1] == b"\x34\x06\x00\x01a\x00\x01x"
        link.say(b"\x50\x02\x00\x01")
        await settle()
        assert link.packets()[-1] == b"\x62\x02\x00\x01" and not task.done()
        link.say(b"\x70\x02\x00\x01")
        await task

    play(test, Link(CONNACK))


def test_a_message_of_qos_2_is_delivered_once():
    async def test(client, first, second):
        inbox = client.messages("a", 2)
        await client.connected()
        first.say(GRANTED, b"\x34\x06\x00\x01a\x00\x07x")
        message = await inbox.get()
        assert (message.payload, message.qos) == (b"x", 2)
        inbox.acknowledge()
        await settle()
        assert first.packets()[-1] == b"\x50\x02\x00\x07"
        first.cut()
        await until(lambda: client.is_connected() and second.written)
        second.say(b"\x3c\x06\x00\x01a\x00\x07x", b"\x62\x02\x00\x07", b"\x30\x04\x00\x01ay")
        message = await inbox.get()
        assert message.payload == b"y"
        assert second.packets()[-2:] == [b"\x50\x02\x00\x07", b"\x70\x02\x00\x07"]

    play(test, Link(CONNACK), Link(PRESENT))


def test_packets_that_are_ready_together_go_in_one_write():
    async def test(client, link):
        await client.connected()
        before = len(link.written)
        tasks = [asyncio.create_task(client.publish("a", b"x")) for _ in range(4)]
        await settle()
        assert len(link.packets()) == 6
        assert len(link.written) - before == 2  # the first at once, the others together
        for packet_id in range(1, 5):
            link.say(b"\x40\x02\x00" + bytes([packet_id]))
        for task in tasks:
            await task

    play(test, Link(CONNACK))


def test_an_acknowledgement_that_is_there_at_once_changes_no_task():
    class Prompt(Link):
        def write_now(self, view):
            if view[0] == 0x32:
                self.say(b"\x40\x02" + bytes(view[5:7]))
            return super().write_now(view)

    async def test(client, link):
        await client.connected()
        turns = []

        async def others():
            while True:
                turns.append(1)
                await asyncio.sleep_ms(0)

        task = asyncio.create_task(others())
        for number in range(20):
            await client.publish("a", b"%d" % number)
        assert len(turns) < 15
        task.cancel()

    play(test, Prompt(CONNACK))


def test_a_handler_gets_every_message_and_the_next_when_it_returned():
    seen = []

    async def handler(message):
        seen.append(message.topic)
        await asyncio.sleep_ms(0)
        if message.payload == b"bad":
            raise ValueError("bad")

    async def test(client, link):
        await client.subscribe("x/+", handler=handler)
        await client.subscribe("plain", handler=lambda message: seen.append(message.topic))
        await client.connected()
        link.say(b"\x32\x0a\x00\x03x/y\x00\x07bad", b"\x32\x08\x00\x03x/z\x00\x08o")
        link.say(b"\x32\x0a\x00\x05plain\x00\x09o")
        await until(lambda: len(seen) == 3)
        await until(lambda: b"\x40\x02\x00\x09" in link.packets())
        answers = [packet for packet in link.packets() if packet[0] == 0x40]
        assert [packet[3] for packet in answers] == [7, 8, 9]

    assert codes(play(test, Link(CONNACK))) == ["mqtt.handler-failed"]
    assert sorted(seen) == ["plain", "x/y", "x/z"]


def test_unsubscribe_stops_the_messages_and_is_repeated_until_it_is_acknowledged():
    async def test(client, first, second):
        inbox = client.messages("a")
        await client.connected()
        first.say(GRANTED, b"\x32\x06\x00\x01a\x00\x07x")
        await settle()
        await client.unsubscribe("a")
        await settle()
        unsubscribe = [packet for packet in first.packets() if packet[0] == 0xA2]
        assert unsubscribe == [b"\xa2\x05\x00\x02\x00\x01a"]
        assert b"\x40\x02\x00\x07" in first.packets()  # nobody will take it now
        first.cut()
        await until(lambda: [packet for packet in second.packets() if packet[0] == 0xA2])
        assert not [packet for packet in second.packets() if packet[0] == 0x82]
        assert inbox not in client.inboxes

    play(test, Link(CONNACK), Link(PRESENT))


def test_what_the_broker_does_not_acknowledge_ends_the_connection():
    async def test(client, link, second):
        await client.connected()
        task = asyncio.create_task(client.publish("a", b"x"))
        await settle()
        client.session.inflight[0].sent_ms -= 21_000
        await until(lambda: len(second.packets()) > 2)
        second.say(b"\x40\x02\x00\x01")
        await task

    assert codes(play(test, Link(CONNACK), Link(PRESENT)))[0] == "mqtt.no-puback"


def test_a_write_that_makes_no_progress_ends_by_time_limit():
    async def test(client, link):
        await client.connected()
        link.is_blocked = True
        task = asyncio.create_task(client.publish("a", b"x"))
        await settle()
        client._blocked_ms -= 16_000
        await until(lambda: not client.is_connected())
        task.cancel()

    console = play(test, Link(CONNACK))
    down = console.named("mqtt.down")[0]
    assert (down["code"], down["detail"]) == ("tls.write-timeout", "0 of 8 bytes")


def test_a_publish_can_be_given_a_time_limit():
    async def test(client, link):
        await client.connected()
        assert await outcome(client.publish("a", b"x", limit_ms=30)) == "mqtt.publish-timeout"

    play(test, Link(CONNACK))


def test_two_boards_of_one_name_are_told():
    links = [Link(PRESENT) for _ in range(6)]

    async def test(client, *links):
        for link in links[:5]:
            while not (client.is_connected() and len(link.written) > 1):
                await asyncio.sleep_ms(2)
            link.cut()
            while not link.is_closed:
                await asyncio.sleep_ms(2)
        await until(client.is_connected)

    console = play(test, *links)
    assert codes(console)[:5] == ["tls.closed"] * 4 + ["mqtt.closed-again"]
    event = console.named("error")[4]
    assert event["detail"].startswith("closed 5 times in a row")


class Once(io.BytesIO):
    """A reader that cannot be read twice."""

    def seek(self, *_):
        raise OSError(29)


def gather(link):
    """The payload of the last publish, whose head is of topic a at QoS 1."""
    packet = link.packets()[-1]
    return packet[packet.find(b"\x00\x01a\x00") + 5 :]


def test_a_large_payload_goes_out_through_the_small_buffer():
    payload = bytes(range(256)) * 16

    async def test(client, link):
        task = asyncio.create_task(client.publish("a", (4096, io.BytesIO(payload))))
        await until(lambda: len(b"".join(link.written)) > 4096)
        await settle()
        assert gather(link) == payload
        assert max(len(part) for part in link.written) <= 256
        link.say(b"\x40\x02\x00\x01")
        await task

    play(test, Link(CONNACK), tx_bytes=256, payload_bytes=128)


def test_a_large_payload_is_sent_again_if_its_reader_can_seek():
    payload = bytes(range(256)) * 4

    async def test(client, first, second):
        tasks = [
            asyncio.create_task(client.publish("a", (1024, io.BytesIO(payload)))),
            asyncio.create_task(outcome(client.publish("a", (1024, Once(payload))))),
        ]
        await until(lambda: first.packets()[3:])
        await settle()
        first.cut()
        await until(lambda: second.packets()[2:])
        await settle()
        assert gather(second) == payload and second.packets()[-1][0] == 0x3A
        second.say(b"\x40\x02\x00\x01")
        await tasks[0]
        assert await tasks[1] == "mqtt.interrupted"

    play(test, Link(CONNACK), Link(PRESENT), tx_bytes=256, payload_bytes=128)


def test_a_reader_that_ends_early_ends_the_connection_and_the_publish():
    async def test(client, link, second):
        await client.connected()
        error = await outcome(client.publish("a", (1024, io.BytesIO(bytes(1000)))))
        assert error == "mqtt.short-payload"
        await until(client.is_connected)
        assert len(second.packets()) == 2  # it is not tried again

    play(test, Link(CONNACK), Link(PRESENT), tx_bytes=256, payload_bytes=128)


def test_an_async_reader_may_take_its_time():
    class Slow:
        left = 300

        async def readinto(self, view):
            await asyncio.sleep_ms(1)
            count = min(self.left, len(view), 100)
            view[:count] = b"y" * count
            self.left -= count
            return count

    async def test(client, link):
        task = asyncio.create_task(client.publish("a", (300, Slow()), qos=0))
        await task
        assert link.packets()[-1] == b"\x30\xaf\x02\x00\x01a" + b"y" * 300

    play(test, Link(CONNACK), tx_bytes=256, payload_bytes=128)


def test_a_large_message_comes_in_pieces():
    payload = bytes(range(256)) * 16
    packet = b"\x32\x85\x20\x00\x01a\x00\x09" + payload

    async def test(client, link):
        inbox = client.messages("a", stream=True)
        await client.connected()
        link.say(GRANTED)
        link.say(*[packet[at : at + 50] for at in range(0, len(packet), 50)])
        link.say(b"\x30\x04\x00\x01az")
        message = await inbox.get()
        assert (message.payload, message.size) == (None, 4096)
        got = b""
        async for piece in message:
            assert len(piece) <= 128
            got += bytes(piece)
        assert got == payload
        assert b"\x40\x02\x00\x09" not in link.packets()
        message = await inbox.get()
        assert message.payload == b"z"
        await settle()
        assert b"\x40\x02\x00\x09" in link.packets()

    play(test, Link(CONNACK), rx_bytes=128)


def test_a_large_message_that_nobody_takes_is_told_and_skipped():
    packet = b"\x32\x85\x08\x00\x01a\x00\x09" + bytes(1024)

    async def test(client, link):
        inbox = client.messages("a")
        await client.connected()
        link.say(GRANTED)
        link.say(*[packet[at : at + 50] for at in range(0, len(packet), 50)])
        link.say(b"\x30\x04\x00\x01az")
        message = await inbox.get()
        assert message.payload == b"z"
        assert b"\x40\x02\x00\x09" in link.packets()  # or it would come for ever

    assert codes(play(test, Link(CONNACK), rx_bytes=128)) == ["mqtt.too-large"]


def test_the_rest_of_a_large_message_is_skipped_when_the_next_is_asked_for():
    packet = b"\x32\x85\x08\x00\x01a\x00\x09" + bytes(1024)

    async def test(client, link):
        inbox = client.messages("a", stream=True)
        await client.connected()
        link.say(GRANTED)
        link.say(*[packet[at : at + 50] for at in range(0, len(packet), 50)])
        link.say(b"\x30\x04\x00\x01az")
        await inbox.get()
        message = await inbox.get()
        assert message.payload == b"z"

    assert not codes(play(test, Link(CONNACK), rx_bytes=128))


def test_a_large_message_that_was_cut_comes_again():
    packet = b"\x34\x85\x08\x00\x01a\x00\x09" + bytes(1024)

    async def test(client, first, second):
        inbox = client.messages("a", 2, stream=True)
        await client.connected()
        first.say(GRANTED)
        first.say(*[packet[at : at + 50] for at in range(0, 500, 50)])
        message = await inbox.get()

        async def read(message):
            count = 0
            async for piece in message:
                count += len(piece)
            return count

        task = asyncio.create_task(outcome(read(message)))
        await settle()
        first.cut()
        assert await task == "mqtt.interrupted"
        second.say(b"\x3c" + packet[1:])
        message = await inbox.get()
        assert await read(message) == 1024
        inbox.acknowledge()
        await until(lambda: second.packets()[-1] == b"\x50\x02\x00\x09")

    play(test, Link(CONNACK), Link(PRESENT), rx_bytes=128)


VERSION_5 = {"version": 5}


def play5(test, *links, **limits):
    """As `play`, with MQTT 5.0."""

    async def main():
        world = World(*links, broker=VERSION_5, **limits)
        async with world.client as client:
            await asyncio.wait_for_ms(test(client, *links), 5_000)

    from device_support import Console

    with Console() as console:
        run(main())
    return console


def test_a_3_1_1_broker_is_spoken_to_in_its_own_version():
    async def test(client, first, second):
        await client.connected()
        assert client.session.version == 4
        assert first.written[0][8] == 5 and second.written[0][8] == 4

    console = play5(test, Link(b"\x20\x02\x00\x01"), Link(CONNACK))
    assert codes(console) == ["mqtt.unacceptable-protocol"]


def test_a_publish_that_a_5_0_broker_refuses_raises_its_reason():
    async def test(client, link):
        await client.connected()
        task = asyncio.create_task(outcome(client.publish(READING, b"x")))
        await settle()
        link.say(b"\x40\x03\x00\x01\x87")
        assert await task == "mqtt.not-authorized"
        assert client.is_connected()

    play5(test, Link(CONNACK5))


def test_what_a_5_0_broker_would_not_take_is_refused_without_ending_the_connection():
    async def test(client, link):
        await client.connected()
        assert await outcome(client.publish("a", b"x", qos=2)) == "mqtt.qos-not-supported"
        assert await outcome(client.publish("a", bytes(100))) == "mqtt.packet-too-large"
        bad = {"receive_maximum": 1}
        assert await outcome(client.publish("a", b"", properties=bad)) == "mqtt.bad-property"
        assert client.is_connected()

    play5(test, Link(b"\x20\x0a\x00\x00\x07\x24\x01\x27\x00\x00\x00\x40"))


def test_messages_of_5_0_go_to_the_subscription_they_are_meant_for():
    async def test(client, link):
        first = client.messages("a/#", identifier=1)
        second = client.messages("a/b", no_local=True, identifier=2)
        await client.connected()
        await settle()
        asked = [packet for packet in link.packets() if packet[0] == 0x82]
        assert asked == [
            b"\x82\x0b\x00\x01\x02\x0b\x01\x00\x03a/#\x01",
            b"\x82\x0b\x00\x02\x02\x0b\x02\x00\x03a/b\x05",
        ]
        link.say(b"\x90\x04\x00\x01\x00\x01\x90\x04\x00\x02\x00\x01")
        link.say(
            b"\x30\x09\x00\x03a/b\x02\x0b\x02x", b"\x30\x0d\x00\x03a/b\x07\x26\x00\x01k\x00\x01v"
        )
        message = await second.get()
        assert message.payload == b"x"
        message = await first.get()
        assert message.properties == {"user_property": [("k", "v")]}

    play5(test, Link(CONNACK5))


def test_a_disconnect_of_a_5_0_broker_is_told_by_its_reason():
    async def test(client, link):
        await client.connected()
        link.say(b"\xe0\x01\x8e")
        await until(lambda: not client.is_connected())

    console = play5(test, Link(CONNACK5))
    assert console.named("mqtt.down")[0]["code"] == "mqtt.taken-over"
    assert console.named("error")[0]["retry"] == "stop"


def test_a_5_0_broker_is_told_why_we_hang_up():
    async def test(client, link):
        await client.connected()
        link.say(b"\xd1\x00")
        await until(lambda: link.is_closed)
        assert link.written[-1] == b"\xe0\x01\x81"

    play5(test, Link(CONNACK5))
