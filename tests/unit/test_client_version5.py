"""keyfob.client on a scripted broker that speaks MQTT 5.0, or does not."""

import asyncio

from scripted_broker import (
    CONNACK,
    CONNACK5,
    READING,
    Link,
    codes,
    outcome,
    play,
    play5,
    settle,
    until,
)


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


def test_a_message_as_large_as_the_broker_takes_is_sent_and_one_byte_more_is_told():
    async def test(client, link):
        await client.connected()
        await client.publish("a", bytes(58), qos=0)  # 2 + 2 + 1 + 1 + 58
        code = await outcome(client.publish("a", bytes(59), qos=0))
        assert code == "mqtt.packet-too-large" and client.is_connected()
        big = (1_000_000, None)
        assert await outcome(client.publish("a", big)) == "mqtt.packet-too-large"
        assert client.is_connected() and link.packets()[-1][1] == 62

    play5(test, Link(b"\x20\x08\x00\x00\x05\x27\x00\x00\x00\x40"))


def test_what_the_broker_has_not_is_told_once_a_connection_and_the_rest_is_subscribed():
    async def test(client, first, second):
        client.messages("a/#")
        client.messages("$share/n/a")
        client.messages("c", identifier=7)
        client.messages("d")
        await client.connected()
        await settle()
        first.say(b"\x90\x04\x00\x01\x00\x01")
        await asyncio.sleep_ms(1_100)
        assert [packet for packet in first.packets() if packet[0] == 0x82] == [
            b"\x82\x07\x00\x01\x00\x00\x01d\x01"
        ]
        assert not client.is_asking
        await client.unsubscribe("a/#")  # there is nothing to take back
        first.cut()
        await until(lambda: len(second.packets()) > 3)
        asked = [packet for packet in second.packets() if packet[0] in (0x82, 0xA2)]
        assert [packet[-2:] for packet in asked] == [b"a\x01", b"c\x01"]  # of a better broker

    console = play5(
        test, Link(b"\x20\x09\x00\x00\x06\x28\x00\x29\x00\x2a\x00"), Link(b"\x20\x03\x01\x00\x00")
    )
    assert codes(console)[:3] == [
        "mqtt.wildcards-not-supported", "mqtt.shared-not-supported",
        "mqtt.identifiers-not-supported",
    ]  # fmt: skip
    assert codes(console)[3] == "tls.closed"


def test_options_that_are_none_are_refused_at_once():
    async def test(client, link):
        await client.connected()

        async def ask(topic_filter, qos=1, **how):
            client.messages(topic_filter, qos, **how)

        assert await outcome(ask("a", 3)) == "mqtt.bad-property"
        assert await outcome(ask("a", retain_handling=3)) == "mqtt.bad-property"
        assert await outcome(ask("$share/n/a", no_local=True)) == "mqtt.bad-property"
        assert await outcome(ask("$share/n/")) == "mqtt.bad-topic"
        for bad in ({"content_type": "x"}, {"subscription_identifier": [1, 2]}, {"x": 1}):
            assert await outcome(ask("a", properties=bad)) == "mqtt.bad-property"
        bad = {"subscription_identifier": 1}
        assert await outcome(client.publish("a", b"", properties=bad)) == "mqtt.bad-property"
        assert await outcome(client.publish("a", b"", qos=3)) == "mqtt.qos-not-supported"
        assert await outcome(client.publish(chr(0xD800), b"")) == "mqtt.bad-topic"
        assert client.is_connected() and not client.inboxes

    play5(test, Link(CONNACK5))


def test_no_more_is_sent_again_at_once_than_the_broker_takes_now():
    # Section 4.9: the receive maximum is of one connection; the last one's was larger.
    async def test(client, first, second):
        tasks = [asyncio.create_task(client.publish("abcd"[n], b"x", 1 + n % 2)) for n in range(4)]
        await until(lambda: len(first.packets()) == 6)
        first.cut()

        def sent():
            return [packet[0] >> 4 for packet in second.packets()[2:]]

        await until(lambda: len(sent()) == 2)
        await settle()
        assert sent() == [3, 3] and not client.is_connected()
        numbers = [packet[6] for packet in second.packets()[2:]]
        second.say(bytes((0x40, 2, 0, numbers[0])))
        await until(lambda: len(sent()) == 3)
        second.say(bytes((0x50, 2, 0, numbers[1])))  # a PUBREC makes no room yet
        await until(lambda: len(sent()) == 4)
        await settle()
        assert sent() == [3, 3, 3, 6] and not client.is_connected()
        second.say(bytes((0x70, 2, 0, numbers[1])))
        await until(client.is_connected)
        assert sent() == [3, 3, 3, 6, 3]
        numbers = [packet[6] for packet in second.packets()[2:] if packet[0] >> 4 == 3]
        second.say(bytes((0x40, 2, 0, numbers[2])), bytes((0x50, 3, 0, numbers[3], 0x97)))
        for task in tasks[:3]:
            await task
        assert await outcome(tasks[3]) == "mqtt.quota-exceeded"

    play5(test, Link(CONNACK5), Link(b"\x20\x06\x01\x00\x03\x21\x00\x02"))


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


def test_nothing_is_said_in_the_middle_of_a_payload_that_goes_out_in_pieces():
    class Slow:
        """Its first piece comes at once, the others do not."""

        def __init__(self):
            self.waits = asyncio.Event()

        def seek(self, at):
            pass

        async def _wait(self):
            await self.waits.wait()
            return 0

        def readinto(self, view):
            self.readinto = lambda view: self._wait()
            return len(view)

    async def test(client, link):
        await client.connected()
        task = asyncio.create_task(outcome(client.publish("a", (1_000_000, Slow()))))
        await until(lambda: len(link.written) > 2)
        await settle()
        link.say(b"\xd1\x00")
        await until(lambda: link.is_closed)
        assert link.written[-1] != b"\xe0\x01\x81"
        task.cancel()

    play5(test, Link(CONNACK5))


def test_what_a_broker_sends_without_bound_comes_over_several_connections_in_order():
    # As mosquitto 2.0.11 does in a session that is taken up again, while a handler publishes.
    seen = []

    def message(number):
        return bytes((0x32, 8, 0, 1)) + b"a" + bytes((0, number, 0)) + b"%02d" % number

    async def test(client, *links):
        async def handler(message):
            if len(seen) in (0, 70):
                await client.publish(READING, b"x")
            seen.append(int(message.payload))

        async def serve(link, first, count):
            def sent(kind):
                return [packet for packet in link.packets() if packet[0] == kind]

            link.say(*[message(number) for number in range(first, 91)])
            await until(lambda: sent(0x32))
            await settle()
            assert len(client.kept.receipts) <= 64
            link.say(b"\x40\x02" + sent(0x32)[0][-4:-2])
            await until(lambda: len(sent(0x40)) == count)

        client.messages("a", handler=handler)
        await client.connected()
        links[0].say(b"\x90\x04\x00\x01\x00\x01")
        await serve(links[0], 1, 64)
        await until(lambda: links[0].is_closed)
        await client.connected()
        await serve(links[1], 65, 26)

    console = play5(test, Link(CONNACK5), Link(b"\x20\x03\x01\x00\x00"))
    assert codes(console) == ["mqtt.more-waiting"] and seen == list(range(1, 91))


def test_a_refused_subscription_is_told_with_the_brokers_words():
    # Sections 3.9.2.1 and 3.11.2.1
    async def test(client, link):
        for topic_filter in "abc":
            client.messages(topic_filter)
        await client.connected()
        await settle()
        reason = b"\x09\x1f\x00\x06no acl"
        link.say(b"\x90\x0d\x00\x01" + reason + b"\x87", b"\x90\x04\x00\x02\x00\x80")
        link.say(b"\x90\x04\x00\x03\x00\x01")
        await settle()
        await client.unsubscribe("c")
        await settle()
        link.say(b"\xb0\x0d\x00\x04" + reason + b"\x87")
        await settle()
        assert client.is_connected() and not client.unwanted

    console = play5(test, Link(CONNACK5))
    assert [(event["code"], event["detail"]) for event in console.named("error")] == [
        ("mqtt.subscribe-refused", "a: reason code 0x87, no acl (mqtt.not-authorized)"),
        ("mqtt.subscribe-refused", "b: code 128"),
        ("mqtt.subscribe-refused", "UNSUBSCRIBE c: reason code 0x87, no acl (mqtt.not-authorized)"),
    ]


def test_streams_that_the_broker_would_not_send_are_refused():
    # It sends no packet larger than the maximum that was said: by default that of the buffer.
    async def ask(client):
        client.messages("a", stream=True)

    async def refused(client, link):
        for _ in range(2):
            assert await outcome(ask(client)) == "config.bad-value" and not client.inboxes

    async def taken(client, link):
        assert await outcome(ask(client)) is None

    play5(refused, Link(CONNACK5), rx_bytes=256)
    play5(refused, Link(CONNACK5), rx_bytes=256, packet_bytes=256)
    play5(taken, Link(CONNACK5), rx_bytes=256, packet_bytes=257)
    play(taken, Link(CONNACK), rx_bytes=256)  # 3.1.1 has no such maximum
