"""keyfob.client on a scripted broker: inboxes and clients that end, and want of memory."""

import asyncio
import gc

from device_support import Console, run
from scripted_broker import (
    CONNACK,
    GRANTED,
    PRESENT,
    Link,
    World,
    codes,
    outcome,
    play,
    settle,
    until,
)


def command(packet_id):
    return bytes((0x32, 6, 0, 1)) + b"a" + bytes((0, packet_id, packet_id))


def acknowledged(link):
    return [packet[3] for packet in link.packets() if packet[0] == 0x40]


def test_a_handler_can_unsubscribe_its_own_filter():
    seen = []

    async def test(client, link):
        async def once(message):
            seen.append(message.payload[0])
            await client.unsubscribe("a")
            await asyncio.sleep_ms(0)
            seen.append(0)

        inbox = client.messages("a", handler=once)
        await client.connected()
        link.say(GRANTED, command(1), command(2))
        await until(inbox.task.done)
        await settle()
        assert acknowledged(link) == [1, 2]
        assert [packet for packet in link.packets() if packet[0] == 0xA2]

    assert not codes(play(test, Link(CONNACK)))
    assert seen == [1, 0]


def test_a_loop_over_messages_ends_when_its_filter_is_unsubscribed():
    async def test(client, link):
        seen = []

        async def loop():
            async for message in client.messages("a"):
                seen.append(message.payload[0])

        task = asyncio.create_task(loop())
        await client.connected()
        await settle()
        link.say(GRANTED, command(1))
        await until(lambda: seen)
        await client.unsubscribe("a")
        await asyncio.wait_for_ms(task, 500)

    assert not codes(play(test, Link(CONNACK)))


def test_a_want_of_memory_does_not_end_a_handler():
    seen = []

    async def test(client, link):
        handled, calls = client.handled, []

        def fails_once(message):
            calls.append(message)
            if len(calls) == 1:
                raise MemoryError
            handled(message)

        client.handled = fails_once
        client.messages("a", handler=lambda message: seen.append(message.payload[0]))
        await client.connected()
        link.say(GRANTED, command(1), command(2))
        await until(lambda: acknowledged(link) == [1, 2])

    play(test, Link(CONNACK))
    assert seen == [1, 2]


def test_a_want_of_memory_between_ends_the_connection_and_nothing_else():
    async def test(client, first, second):
        keep, calls = client.clock.keep, []

        def fails_once():
            calls.append(1)
            if len(calls) == 1:
                raise MemoryError
            keep()

        client.clock.keep = fails_once
        await until(lambda: second.written and client.is_connected())
        assert first.is_closed
        await until(lambda: calls[1:])

    assert codes(play(test, Link(CONNACK), Link(PRESENT))) == ["tls.no-memory"]


def test_a_want_of_memory_while_waiting_for_the_broker_ends_the_connection():
    class Short(Link):
        async def readable(self):
            raise MemoryError

    async def test(client, first, second):
        await until(lambda: second.written and client.is_connected())
        assert first.is_closed

    assert codes(play(test, Short(CONNACK), Link(PRESENT))) == ["tls.no-memory"]


def test_nobody_waits_for_a_client_that_was_left():
    async def loop(inbox):
        async for _ in inbox:
            pass

    async def main():
        client = World(Link(CONNACK)).client
        async with client:
            inbox = client.messages("a")
            await client.connected()
            tasks = [asyncio.create_task(outcome(client.publish("b", b"x"))) for _ in range(6)]
            tasks.append(asyncio.create_task(outcome(client.publish("b", b"x", limit_ms=60_000))))
            ends = asyncio.create_task(loop(inbox))
            await settle()
        for task in tasks:
            assert await asyncio.wait_for_ms(task, 500) == "mqtt.not-connected"
        await asyncio.wait_for_ms(ends, 500)
        await asyncio.wait_for_ms(loop(inbox), 500)
        for qos in (0, 1):
            publish = outcome(client.publish("b", b"x", qos))
            assert await asyncio.wait_for_ms(publish, 500) == "mqtt.not-connected"
        assert await asyncio.wait_for_ms(outcome(client.connected()), 500) == "mqtt.not-connected"

    with Console():
        run(main())


def test_a_client_is_entered_once():
    async def test(client, link):
        await client.connected()
        try:
            async with client:
                assert not "entered"
        except RuntimeError:
            pass
        assert client.is_connected()

    assert not codes(play(test, Link(CONNACK)))


def test_leaving_while_messages_come_is_quiet():
    failed = []

    async def main():
        asyncio.get_event_loop().set_exception_handler(lambda _, about: failed.append(about))
        for rounds in range(6):
            link = Link(CONNACK)
            async with World(link).client as client:
                client.messages("a", handler=lambda message: None)
                await client.connected()
                await settle()
                link.say(GRANTED)
                await settle()
                for _ in range(5):
                    link.say(b"\x30\x04\x00\x01ax")
                    await asyncio.sleep_ms(0)
                for _ in range(rounds):
                    await asyncio.sleep_ms(0)
            await settle()
            del client
            gc.collect()
            await settle()

    with Console() as console:
        run(main())
    assert not failed and not codes(console)
