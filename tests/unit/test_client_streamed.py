"""keyfob.client on a scripted broker: payloads larger than the buffers, both ways."""

import asyncio
import io

from scripted_broker import CONNACK, GRANTED, PRESENT, Link, codes, outcome, play, settle, until

from keyfob.errors import KeyfobError


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


def test_the_time_limit_of_a_large_payload_begins_at_its_end():
    async def test(client, link):
        class Slow(io.BytesIO):
            def readinto(self, view):
                client.session.inflight[0].sent_ms -= 30_000
                return super().readinto(view)

        await client.connected()
        task = asyncio.create_task(client.publish("a", (1024, Slow(bytes(1024)))))
        await until(lambda: link.packets()[2:])
        await asyncio.sleep_ms(1_100)  # two ticks
        assert client.is_connected()
        link.say(b"\x40\x02\x00\x01")
        await task

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
    for packet in (
        b"\x32\x85\x08\x00\x01a\x00\x09" + bytes(1024),
        b"\x30\x83\x08\x00\x01a" + bytes(1024),
    ):

        async def test(client, link, packet=packet):
            inbox = client.messages("a", stream=True)
            await client.connected()
            link.say(GRANTED)
            link.say(*[packet[at : at + 50] for at in range(0, len(packet), 50)])
            link.say(b"\x30\x04\x00\x01az")
            await inbox.get()
            message = await inbox.get()
            assert message.payload == b"z"

        assert not codes(play(test, Link(CONNACK), rx_bytes=128))


def test_a_large_message_that_nobody_takes_leaves_others_their_turns():
    # The link has more each time it is asked, without end; so might a fast one.
    class Endless(Link):
        is_on = False

        def read_now(self, view):
            return len(view) if self.is_on else super().read_now(view)

        def poll(self, limit_ms):
            return self.is_on or super().poll(limit_ms)

    async def test(client, link):
        inbox = client.messages("a", stream=True)
        await client.connected()
        link.say(GRANTED, b"\x30\xff\xff\xff\x7f\x00\x01a" + bytes(200))
        await inbox.get()
        link.is_on = True
        task = asyncio.create_task(inbox.get())  # skips it
        for _ in range(5):
            await asyncio.sleep_ms(1)
        left = client.session.left
        await asyncio.sleep_ms(1)
        assert 0 < client.session.left < left
        task.cancel()
        client.fail(KeyfobError("tls.reset", "by the test"))

    play(test, Endless(CONNACK), rx_bytes=128)


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


def test_a_payload_that_nobody_waits_for_any_more_ends_the_connection_it_was_begun_on():
    # What follows would be taken for the rest of it.
    class Slow:
        """Never comes to the second piece."""

        pieces = 0

        def readinto(self, view):
            self.pieces += 1
            return asyncio.sleep_ms(60_000) if self.pieces > 1 else len(view)

    async def test(client, first, second):
        await client.connected()
        code = await outcome(client.publish("a", (1_000, Slow()), qos=0, limit_ms=30))
        assert code == "mqtt.publish-timeout"
        said = len(first.written)
        await client.publish("b", b"x", qos=0)
        assert len(first.written) == said and first.is_closed
        assert second.packets()[-1] == b"\x30\x04\x00\x01bx"

    console = play(test, Link(CONNACK), Link(CONNACK), tx_bytes=128, payload_bytes=16)
    assert console.named("mqtt.down")[0]["code"] == "mqtt.interrupted"


def large(payload, packet_id=0, topic=b"a", is_again=False):
    """A PUBLISH of QoS 1, of QoS 0 without identifier."""
    body = bytes((0, len(topic))) + topic
    if packet_id:
        body += bytes((0, packet_id))
    body += payload
    first = (0x32 if packet_id else 0x30) | (8 if is_again else 0)
    return bytes((first, len(body) & 127 | 128, len(body) >> 7)) + body


async def whole(message):
    got = b""
    async for piece in message:
        got += bytes(piece)
    return got


def test_a_large_message_that_nobody_takes_is_no_piece_of_the_one_before():
    for second in (
        large(b"B" * 600, 0, b"b"),
        large(b"A" * 600, 7, b"a", True),  # the same, again
    ):

        async def test(client, link, second=second):
            inbox = client.messages("a", stream=True)
            await client.connected()
            link.say(GRANTED)
            await settle()
            link.say(large(b"A" * 600, 7))
            message = await inbox.get()
            assert await whole(message) == b"A" * 600
            link.say(second)
            await settle()
            task = asyncio.create_task(client.publish("c", b"x"))
            await settle()
            link.say(b"\x40\x02\x00\x02")
            await asyncio.wait_for_ms(task, 1_000)

        play(test, Link(CONNACK), rx_bytes=128)


def test_a_piece_that_came_after_somebody_gave_up_waiting_is_there_for_the_next_who_asks():
    packet = large(b"1" * 100 + b"2" * 100 + b"3" * 100)

    async def test(client, link):
        inbox = client.messages("a", stream=True)
        await client.connected()
        link.say(GRANTED, packet[:128])
        message = await inbox.get()
        assert bytes(await message.__anext__())[-1:] == b"2"
        task = asyncio.create_task(message.__anext__())
        await settle()
        link.say(packet[128:250])
        await asyncio.sleep_ms(0)
        while not message.chunk:
            await asyncio.sleep_ms(0)
        task.cancel()
        link.say(packet[250:])
        rest = await asyncio.wait_for_ms(whole(message), 500)
        assert len(rest) == 306 - 128

    play(test, Link(CONNACK), rx_bytes=128)


def test_a_message_is_cut_however_little_of_it_is_missing():
    packet = large(bytes(300), 9)

    async def test(client, first, second):
        inbox = client.messages("a", stream=True)
        await client.connected()
        first.say(GRANTED, packet[:128], packet[128:256])
        message = await inbox.get()
        await message.__anext__()
        assert len(await message.__anext__()) == 128  # and 52 that do not come
        client.fail(KeyfobError("wifi.lost", "by the test"))
        await until(lambda: first.is_closed)
        assert await asyncio.wait_for_ms(outcome(whole(message)), 500) == "mqtt.interrupted"
        second.say(large(bytes(300), 9, b"a", True))
        assert await whole(await inbox.get()) == bytes(300)

    play(test, Link(CONNACK), Link(PRESENT), rx_bytes=128)


async def _answer(link, first, packet):
    """Once the client sent a packet that begins so, what the broker says to it."""
    await until(lambda: link.packets()[-1][0] == first)
    link.say(packet)
    await settle()


async def _hasten(client):
    """As if the time limit had passed for the piece that nobody takes."""
    message = client.incoming
    await asyncio.sleep_ms(600)
    message._since_ms -= 5_000
    await until(lambda: message.is_skipped)


def test_an_answer_behind_a_large_message_that_nobody_takes_is_not_waited_for_for_ever():
    # Both wait at the broker, and the reader of the first publishes before it asks for the second.
    small = b"\x32\x06\x00\x01a\x00\x09c"

    async def test(client, first, second):
        inbox = client.messages("a", stream=True)
        await client.connected()
        first.say(GRANTED)
        await settle()
        first.say(large(b"A" * 300, 7), large(b"B" * 300, 8), small, b"\x30\x04\x00\x01a0")
        assert await whole(await inbox.get()) == b"A" * 300
        task = asyncio.create_task(client.publish("b", b"x"))
        await _answer(first, 0x32, b"\x40\x02\x00\x02")
        assert not task.done()
        await _hasten(client)
        await asyncio.wait_for_ms(task, 100)
        message = await inbox.get()
        assert await outcome(whole(message)) == "mqtt.interrupted"
        assert (await inbox.get()).payload == b"0"
        await until(lambda: client.is_connected() and second.written)
        # The first was acknowledged, and those behind it come again in their order.
        assert [one[3] for one in first.packets() if one[0] == 0x40] == [7]
        second.say(large(b"B" * 300, 8, b"a", True), b"\x3a" + small[1:])
        assert await whole(await inbox.get()) == b"B" * 300
        assert (await inbox.get()).payload == b"c"
        inbox.acknowledge()
        await settle()
        assert [one[3] for one in second.packets() if one[0] == 0x40] == [8, 9]

    console = play(test, Link(CONNACK), Link(PRESENT), rx_bytes=128)
    assert codes(console) == ["mqtt.more-waiting"]


def test_a_large_message_of_qos_0_is_lost_for_an_answer_behind_it():
    async def test(client, link):
        inbox = client.messages("a", stream=True)
        await client.connected()
        link.say(GRANTED)
        await settle()
        link.say(large(b"A" * 300), large(b"B" * 300))
        await whole(await inbox.get())
        task = asyncio.create_task(client.publish("b", b"x"))
        await _answer(link, 0x32, b"\x40\x02\x00\x02")
        await _hasten(client)
        await asyncio.wait_for_ms(task, 100)
        assert await outcome(whole(await inbox.get())) == "mqtt.interrupted"
        link.say(large(b"C" * 300))
        assert await whole(await inbox.get()) == b"C" * 300

    assert codes(play(test, Link(CONNACK), rx_bytes=128)) == ["mqtt.inbox-full"]


def test_a_reader_may_take_its_time_while_nobody_waits_or_it_goes_on():
    async def test(client, link):
        inbox = client.messages("a", stream=True)
        await client.connected()
        link.say(GRANTED)
        await settle()
        link.say(large(b"A" * 300, 7))
        message = await inbox.get()
        await asyncio.sleep_ms(600)
        message._since_ms -= 5_000
        await asyncio.sleep_ms(600)
        task = asyncio.create_task(client.publish("b", b"x"))
        await _answer(link, 0x32, b"\x40\x02\x00\x02")
        await message.__anext__()
        message._since_ms -= 5_000
        await asyncio.sleep_ms(600)
        assert not (message.is_skipped or task.done())
        await whole(message)
        await asyncio.wait_for_ms(task, 100)

    assert not codes(play(test, Link(CONNACK), rx_bytes=128))


def test_of_two_inboxes_one_gets_a_large_message_whole():
    payload = b"".join(b"%03d" % number for number in range(200))

    async def test(client, link):
        plain = client.messages("+", stream=False)
        first = client.messages("a/#", stream=True)
        second = client.messages("a", stream=True)
        await client.connected()
        await settle()
        link.say(GRANTED, b"\x90\x03\x00\x02\x01", b"\x90\x03\x00\x03\x01")
        link.say(large(payload, 9), b"\x32\x06\x00\x01a\x00\x0az")
        assert await whole(await first.get()) == payload
        for inbox in (plain, first, second):
            assert (await inbox.get()).payload == b"z"
        for inbox in (plain, first, second):
            inbox.acknowledge()
        await settle()
        assert [packet[3] for packet in link.packets() if packet[0] == 0x40] == [9, 10]

    assert not codes(play(test, Link(CONNACK), rx_bytes=128))
