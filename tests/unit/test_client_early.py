"""keyfob.client on a scripted broker: messages that come before their inbox is there."""

import asyncio
import sys

from scripted_broker import (
    CONNACK,
    GRANTED,
    PRESENT,
    Link,
    codes,
    play,
    play5,
    settle,
    until,
)


def command(packet_id, topic=b"a", qos=1):
    return bytes((0x30 | qos << 1, 6, 0, 1)) + topic + bytes((0, packet_id, packet_id))


def acknowledged(link):
    return [packet[3] for packet in link.packets() if packet[0] == 0x40]


def test_what_the_broker_kept_waits_for_a_program_that_publishes_first():
    async def test(client, link):
        link.say(command(1), command(2, b"b"), command(3))
        task = asyncio.create_task(client.publish("c", b"x"))
        await until(lambda: link.packets()[-1][0] == 0x32)
        link.say(b"\x40\x02\x00\x01")
        await task
        assert not acknowledged(link)
        inbox = client.messages("a")
        link.say(b"\x90\x03\x00\x02\x01", command(4))
        got = []
        for _ in range(3):
            message = await inbox.get()
            got.append(message.payload[0])
        assert got == [1, 3, 4]
        assert (await client.messages("b").get()).payload == b"\x02"
        assert not client.full

    assert not codes(play(test, Link(PRESENT)))


def test_a_handler_gets_what_came_before_it():
    seen = []

    async def test(client, link):
        link.say(command(1, b"a", 2), command(2))
        await client.connected()
        await settle()
        client.messages("a", handler=lambda message: seen.append(message.payload[0]))
        await until(lambda: acknowledged(link) == [2])
        assert b"\x50\x02\x00\x01" in link.packets()

    assert not codes(play(test, Link(PRESENT)))
    assert seen == [1, 2]


def test_more_than_there_is_room_for_are_left_at_the_broker():
    async def test(client, link):
        link.say(*[command(number) for number in range(1, 7)])
        await client.connected()
        await settle()
        assert client.full and link._says
        inbox = client.messages("a")
        link.say(GRANTED)
        for number in range(1, 7):
            assert (await inbox.get()).payload[0] == number
        assert not client.full

    assert not codes(play(test, Link(PRESENT), inbox=2))


def test_what_no_inbox_wants_is_acknowledged_and_told_once():
    async def test(client, link):
        inbox = client.messages("a")
        link.say(command(1, b"b"), command(2), command(3, b"b"))
        await client.connected()
        await inbox.get()
        inbox.acknowledge()
        await settle()
        assert not acknowledged(link)  # in their order
        client._hold_ticks = 1
        await until(lambda: acknowledged(link))
        assert acknowledged(link) == [1, 2, 3]
        link.say(command(4, b"b"))
        await until(lambda: acknowledged(link)[-1] == 4)

    console = play(test, Link(PRESENT))
    told = [(one["code"], one["detail"]) for one in console.named("error")]
    assert told == [("mqtt.unexpected", "no inbox wants b")]


def test_a_new_session_holds_nothing_and_tells_it():
    async def test(client, link):
        await client.connected()
        link.say(command(1, b"b"), command(2, b"b"))
        await until(lambda: acknowledged(link) == [1, 2])

    assert codes(play(test, Link(CONNACK))) == ["mqtt.unexpected"]


def test_the_last_messages_of_a_filter_that_was_unsubscribed_are_no_surprise():
    async def test(client, link):
        inbox = client.messages("a")
        await client.connected()
        await settle()
        await client.unsubscribe("a")
        link.say(command(1))
        await until(lambda: acknowledged(link) == [1])
        assert inbox not in client.inboxes

    assert not codes(play(test, Link(PRESENT)))


def test_properties_are_held_too():
    async def test(client, link):
        link.say(b"\x32\x09\x00\x01a\x00\x01\x02\x01\x01x")
        await client.connected()
        await settle()
        inbox = client.messages("a")
        link.say(b"\x90\x04\x00\x01\x00\x01")
        message = await inbox.get()
        assert (message.payload, message.properties) == (b"x", {"payload_format_indicator": 1})

    assert not codes(play5(test, Link(b"\x20\x03\x01\x00\x00")))


class Short:
    """A module for which there is no room."""

    def __getattr__(self, name):
        raise MemoryError(name)


def test_one_that_there_was_no_memory_to_hold_is_new_when_it_comes_again():
    async def test(client, link):
        sys.modules["keyfob.early"] = Short()
        try:
            link.say(command(1, b"a", 2))
            await until(lambda: client.failure)
        finally:
            del sys.modules["keyfob.early"]
        assert not client.kept.held and not client.kept.receipts

    assert "tls.no-memory" in codes(play(test, Link(PRESENT)))
