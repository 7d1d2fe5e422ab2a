"""keyfob.client on a scripted broker: what it sends, restores and bounds."""

import asyncio

from device_support import code_of, run
from scripted_broker import CONNACK, READING, Link, World, play, settle, until

from keyfob.errors import KeyfobError

ONLINE = b"\x31\x1a\x00\x12devices/dev/statusonline"


def test_the_will_says_offline_and_the_first_publish_online():
    async def test(client, link):
        await client.connected()
        await settle()
        will = b"\x00\x12devices/dev/status\x00\x07offline"
        assert will in link.written[0]
        assert link.written[0][9] == 0x2C  # will retained, QoS 1; no clean session
        assert link.written[1] == ONLINE

    play(test, Link(CONNACK))


def test_one_packet_is_one_write():
    async def test(client, link):
        await client.publish(READING, b"21.5", qos=0)
        assert link.written[-1] == b"\x30\x19\x00\x13devices/dev/reading21.5"
        assert len(link.written) == 3

    play(test, Link(CONNACK))


def test_a_publish_of_qos_1_returns_with_its_puback():
    async def test(client, link):
        task = asyncio.create_task(client.publish(READING, b"x"))
        await settle()
        assert link.written[-1] == b"\x32\x18\x00\x13devices/dev/reading\x00\x01x"
        assert not task.done()
        link.say(b"\x40\x02\x00\x01")
        await task

    play(test, Link(CONNACK))


def test_an_unacknowledged_publish_is_sent_again_with_dup():
    async def test(client, first, second):
        task = asyncio.create_task(client.publish(READING, b"x"))
        await settle()
        first.cut()
        second.say(b"\x40\x02\x00\x01")
        await task
        assert b"\x3a\x18\x00\x13devices/dev/reading\x00\x01x" in second.packets()

    console = play(test, Link(CONNACK), Link(CONNACK))
    assert console.named("mqtt.down")[0]["code"] == "tls.closed"


def test_a_publish_before_the_connection_waits_for_it_without_dup():
    async def test(client, link):
        task = asyncio.create_task(client.publish(READING, b"x"))
        await asyncio.sleep_ms(0)
        link.say(CONNACK)
        await settle()
        assert link.packets()[-1][0] == 0x32
        link.say(b"\x40\x02\x00\x01")
        await task

    play(test, Link())


def test_no_more_than_inflight_publishes_are_on_their_way():
    async def test(client, link):
        await client.connected()
        tasks = [asyncio.create_task(client.publish(READING, b"x")) for _ in range(4)]
        await settle()
        assert len([packet for packet in link.packets() if packet[0] == 0x32]) == 2
        link.say(b"\x40\x02\x00\x01", b"\x40\x02\x00\x02")
        await settle()
        assert len([packet for packet in link.packets() if packet[0] == 0x32]) == 4
        link.say(b"\x40\x02\x00\x03", b"\x40\x02\x00\x04")
        for task in tasks:
            await task

    play(test, Link(CONNACK), inflight=2)


def test_subscriptions_are_restored_when_the_broker_forgot_them():
    subscribe = b"\x82\x18\x00\x01\x00\x13devices/dev/command\x01"

    async def test(client, first, second):
        await client.subscribe("devices/dev/command")
        await client.connected()
        await settle()
        assert subscribe in first.packets()
        first.say(b"\x90\x03\x00\x01\x01")
        await settle()
        first.cut()
        while not client.is_connected() or second.packets()[1:] == []:
            await asyncio.sleep_ms(5)
        await settle()
        assert second.packets()[-1][0] == 0x82

    play(test, Link(CONNACK), Link(CONNACK))


def test_subscriptions_are_left_alone_when_the_session_is_present():
    async def test(client, first, second):
        await client.subscribe("devices/dev/command")
        await settle()
        first.say(b"\x90\x03\x00\x01\x01")
        await settle()
        first.cut()
        while len(second.packets()) < 2:
            await asyncio.sleep_ms(5)
        await settle()
        assert not [packet for packet in second.packets() if packet[0] == 0x82]

    play(test, Link(CONNACK), Link(b"\x20\x02\x01\x00"))


def test_messages_come_to_every_filter_that_they_match_and_are_acknowledged():
    async def test(client, link):
        inbox = await client.subscribe("devices/dev/#")
        await settle()
        link.say(b"\x90\x03\x00\x01\x01", b"\x33\x09\x00\x03x/y\x00\x0ano")
        link.say(b"\x32\x0f\x00\x09devices/d\x00\x0bno")
        link.say(b"\x33\x13\x00\x0ddevices/dev/c\x00\x0chi")
        message = await inbox.get()
        assert (message.topic, message.payload) == ("devices/dev/c", b"hi")
        assert (message.qos, message.retain) == (1, True)
        await settle()
        assert b"\x40\x02\x00\x0c" not in link.packets()  # not handled yet
        inbox.acknowledge()
        await settle()
        assert b"\x40\x02\x00\x0c" in link.packets()

    play(test, Link(CONNACK))


def test_messages_can_be_iterated():
    async def test(client, link):
        link.say(b"\x90\x03\x00\x01\x01", b"\x30\x04\x00\x01ax", b"\x30\x04\x00\x01ay")
        seen = []
        async for message in client.messages("a"):
            seen.append(message.payload)
            if len(seen) == 2:
                break
        assert seen == [b"x", b"y"]

    play(test, Link(CONNACK))


def test_a_full_inbox_stops_the_reading_and_nothing_is_lost():
    async def test(client, link):
        inbox = await client.subscribe("a")
        await settle()
        link.say(b"\x90\x03\x00\x01\x01")
        await settle()
        for number in range(10):
            link.say(b"\x30\x04\x00\x01a" + bytes([number]))
        await settle(30)
        assert len(link._says) > 0
        kept = []
        for _ in range(10):
            message = await inbox.get()
            kept.append(message.payload[0])
        assert kept == list(range(10))

    assert not play(test, Link(CONNACK), inbox=4).named("error")


def test_a_full_inbox_drops_qos_0_only_while_an_answer_is_waited_for():
    async def test(client, link):
        inbox = await client.subscribe("a")
        await settle()
        link.say(b"\x90\x03\x00\x01\x01")
        await settle()
        link.say(*[b"\x30\x04\x00\x01a" + bytes([number]) for number in range(4)])
        link.say(*[b"\x32\x06\x00\x01a\x00" + bytes([7 + number, number]) for number in range(4)])
        link.say(b"\x40\x02\x00\x02")
        await client.publish(READING, b"x")
        kept = []
        for _ in range(6):
            message = await inbox.get()
            kept.append((message.qos, message.payload[0]))
        assert kept == [(0, 0), (0, 1), (1, 0), (1, 1), (1, 2), (1, 3)]

    console = play(test, Link(CONNACK), inbox=2)
    codes = [event["code"] for event in console.named("error")]
    assert codes == ["mqtt.inbox-full"] * 2


def test_a_refused_subscription_is_told():
    async def test(client, link):
        await client.subscribe("other/#")
        await settle()
        link.say(b"\x90\x03\x00\x01\x80")
        await settle()

    event = play(test, Link(CONNACK)).named("error")[0]
    assert (event["code"], event["detail"], event["retry"]) == (
        "mqtt.subscribe-refused", "other/#: code 128", "stop",
    )  # fmt: skip


def test_a_lower_qos_than_was_asked_for_is_told():
    async def test(client, link):
        client.messages("a")
        client.messages("b", 2)
        client.messages("c", 0)
        await settle()
        link.say(b"\x90\x03\x00\x01\x00\x90\x03\x00\x02\x01\x90\x03\x00\x03\x00")
        await settle()
        assert [inbox.is_granted for inbox in client.inboxes] == [True] * 3
        link.say(b"\x30\x04\x00\x01ax")
        message = await client.messages("a").get()
        assert message.payload == b"x"

    console = play(test, Link(CONNACK))
    assert [(event["code"], event["detail"]) for event in console.named("error")] == [
        ("mqtt.qos-not-supported", "a: QoS 0 granted for 1"),
        ("mqtt.qos-not-supported", "b: QoS 1 granted for 2"),
    ]


def test_a_refused_subscription_is_asked_for_again_on_the_next_connection():
    async def test(client, first, second):
        client.messages("other/#")
        await settle()
        first.say(b"\x90\x03\x00\x01\x80")
        await asyncio.sleep_ms(1_100)
        assert len([packet for packet in first.packets() if packet[0] == 0x82]) == 1
        first.cut()
        await until(lambda: [packet for packet in second.packets() if packet[0] == 0x82])

    play(test, Link(CONNACK), Link(b"\x20\x02\x01\x00"))


def test_a_filter_that_is_wanted_again_is_not_unsubscribed_by_the_next_connection():
    async def test(client, first, second):
        client.messages("a")
        await settle()
        first.say(b"\x90\x03\x00\x01\x01")
        await settle()
        await client.unsubscribe("a")
        await settle()
        client.messages("a")
        await settle()
        assert [packet[0] for packet in first.packets()[-3:]] == [0x82, 0xA2, 0x82]
        first.cut()
        await until(lambda: len(second.packets()) > 2)
        await settle()
        assert [packet[0] for packet in second.packets()[2:]] == [0x82]

    play(test, Link(CONNACK), Link(b"\x20\x02\x01\x00"))


def test_what_cannot_be_sent_is_refused_before_it_waits():
    client = World().client
    assert code_of(run, client.publish("a/#", b"")) == "mqtt.bad-topic"
    assert code_of(run, client.publish("a", bytes(2049))) == "mqtt.too-large"
    assert code_of(run, client.subscribe("a/#/b")) == "mqtt.bad-topic"
    assert code_of(run, client.publish("a" * 2040, bytes(2048))) == "mqtt.too-large"
    assert code_of(run, client.subscribe("a" * 4090)) == "mqtt.too-large"
    assert client.inboxes == []


def test_a_publish_of_qos_0_survives_a_session_that_failed():
    async def test(client, first, second):
        await client.connected()
        first.say(b"\xd1\x00")  # malformed
        await settle(5)
        await client.publish(READING, b"21.5", qos=0)
        assert second.packets()[-1] == b"\x30\x19\x00\x13devices/dev/reading21.5"

    console = play(test, Link(CONNACK), Link(CONNACK))
    assert console.named("mqtt.down")[0]["code"] == "mqtt.malformed"


def test_leaving_says_offline_and_disconnects():
    link = Link(CONNACK)

    async def test(client, link):
        await client.connected()
        await settle()

    play(test, link)
    assert link.packets()[-2][-7:] == b"offline"
    assert link.packets()[-1] == b"\xe0\x00"
    assert link.is_closed


def test_a_lost_wifi_ends_the_connection():
    async def test(client, link):
        await client.connected()
        client.uplink._wifi._wlan.disconnect()
        while client.is_connected():
            await asyncio.sleep_ms(20)

    console = play(test, Link(CONNACK))
    assert console.named("wifi.down")
    assert console.named("mqtt.down")[0]["code"] == "wifi.lost"


def test_every_connection_that_is_told_to_be_up_is_told_to_be_down():
    class Dies(Link):
        """Reset as soon as it has said yes."""

        def write_now(self, view):
            if self.written:
                raise KeyfobError("tls.reset", "while writing")
            return super().write_now(view)

    async def test(client, first, second):
        await client.connected()
        second.cut()
        await until(lambda: not client.is_connected())

    console = play(test, Dies(CONNACK), Link(CONNACK))
    told = [one["ev"] for one in console.events if one["ev"] in ("mqtt.up", "mqtt.down", "error")]
    assert told[:4] == ["error", "mqtt.up", "mqtt.down", "error"]
