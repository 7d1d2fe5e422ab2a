"""keyfob.client on a scripted broker: QoS 2, handlers, unsubscribing, time limits."""

import asyncio
import io

from scripted_broker import CONNACK, GRANTED, PRESENT, Link, codes, outcome, play, settle, until


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


def test_a_filter_that_is_asked_for_again_gets_what_it_had_not_or_is_refused():
    seen = []

    async def again(client, topic_filter, *qos, **how):
        assert client.messages(topic_filter, *qos, **how) is client.inboxes[0]

    async def test(client, link):
        inbox = client.messages("a")
        await client.connected()
        link.say(b"\x90\x03\x00\x01\x01")
        await settle()
        await again(client, "a")
        await again(client, "a", 0)
        await settle()
        assert inbox.is_granted and len([one for one in link.packets() if one[0] == 0x82]) == 1
        await again(client, "a", qos=2, stream=True, handler=lambda message: seen.append(message))
        await settle()
        assert link.packets()[-1] == b"\x82\x06\x00\x02\x00\x01a\x02"
        link.say(b"\x90\x03\x00\x02\x02", b"\x30\x04\x00\x01ax")
        await until(lambda: seen)
        assert inbox.is_granted and inbox.takes_streams
        await again(client, "a")
        for how in ({"handler": seen.append}, {"no_local": True}, {"identifier": 7}):
            assert await outcome(again(client, "a", **how)) == "mqtt.bad-property"
        assert await outcome(again(client, "a", 3)) == "mqtt.bad-property"
        assert inbox.options == 2 and not inbox.properties and client.is_connected()

    assert codes(play(test, Link(CONNACK))) == []


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


def test_a_write_that_goes_on_byte_by_byte_ends_by_time_limit():
    class Trickle(Link):
        turn = 0

        def write_now(self, view):
            self.turn += self.is_blocked
            return super().write_now(view) if not self.is_blocked else 1 if self.turn & 1 else None

    async def test(client, link):
        await client.connected()
        link.is_blocked = True
        task = asyncio.create_task(client.publish("a", bytes(2000)))
        await settle()
        client._blocked_ms -= 16_000
        await until(lambda: not client.is_connected())
        task.cancel()

    console = play(test, Trickle(CONNACK))
    assert console.named("mqtt.down")[0]["code"] == "tls.write-timeout"


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


def _fill(link):
    """An inbox of two that is full, so that nothing is read."""
    link.say(*[b"\x32\x06\x00\x01a\x00" + bytes([7 + number, number]) for number in range(4)])


def test_a_publish_like_the_last_one_gets_its_puback_while_an_inbox_is_full():
    async def test(client, link):
        inbox = client.messages("a")
        await until(client.is_connected)
        link.say(GRANTED)
        await settle()
        first = asyncio.create_task(client.publish("b", b"x"))
        await settle()
        link.say(b"\x40\x02\x00\x02")
        await first
        _fill(link)
        await inbox.get()
        await settle()
        assert client.full
        second = asyncio.create_task(client.publish("b", b"y"))
        await settle()
        link.say(b"\x40\x02\x00\x03")
        await asyncio.wait_for_ms(second, 500)

    play(test, Link(CONNACK), inbox=2)


def test_a_payload_in_pieces_gets_its_puback_while_an_inbox_is_full():
    async def test(client, link):
        inbox = client.messages("a")
        await until(client.is_connected)
        link.say(GRANTED)
        await settle()
        _fill(link)
        await inbox.get()
        await settle()
        assert client.full
        task = asyncio.create_task(client.publish("b", (300, io.BytesIO(bytes(300)))))
        await until(lambda: link.packets()[-1][0] == 0x32 and len(link.packets()[-1]) > 300)
        await settle()
        link.say(b"\x40\x02\x00\x02")
        await asyncio.wait_for_ms(task, 500)

    play(test, Link(CONNACK), inbox=2, tx_bytes=128, payload_bytes=64)
