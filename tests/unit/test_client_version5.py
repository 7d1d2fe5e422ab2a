"""keyfob.client on a scripted broker that speaks MQTT 5.0, or does not."""

import asyncio

from scripted_broker import CONNACK, CONNACK5, READING, Link, codes, outcome, play5, settle, until


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
