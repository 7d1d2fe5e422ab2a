"""keyfob.blocking on a scripted broker."""

import time

import network
from device_support import Console, code_of
from scripted_broker import CONNACK, CONNACK5, PRESENT, READING, Link

import keyfob.blocking
from keyfob.blocking import BlockingClient
from keyfob.config import check

if not hasattr(time, "sleep_ms"):
    time.sleep_ms = lambda ms: time.sleep(ms / 1000)


SETTINGS = {
    "device_id": "dev", "wifi": {"ssid": "net"}, "ntp": {"servers": ["a"]},
    "broker": {"host": "broker.test", "keepalive_s": 5},
}  # fmt: skip


def connected(*says, connack=CONNACK, version=4, **limits):
    """(client, link) after its CONNECT."""
    network.outcome = network.STAT_GOT_IP
    broker = dict(SETTINGS["broker"], version=version)
    with Console():
        client = BlockingClient(check(dict(SETTINGS, limits=limits, broker=broker)))
    link = Link(connack, *says)
    reconnect(client, link)
    return client, link


def reconnect(client, link):
    async def open_link(is_flat):
        return link

    client.uplink.open = open_link
    client.uplink.check_up = lambda: None
    return client.connect()


def test_it_publishes_and_returns_with_the_acknowledgement():
    client, link = connected()
    link.say(b"\x40\x02\x00\x01")
    client.publish(READING, b"x")
    link.say(b"\x50\x02\x00\x02", b"\x70\x02\x00\x02")
    client.publish("a", b"y", 2)
    client.publish("a", b"z", 0)
    assert link.packets()[1:] == [
        b"\x31\x1a\x00\x12devices/dev/statusonline",
        b"\x32\x18\x00\x13devices/dev/reading\x00\x01x", b"\x34\x06\x00\x01a\x00\x02y",
        b"\x62\x02\x00\x02", b"\x30\x04\x00\x01az",
    ]  # fmt: skip
    assert code_of(client.publish, "#", b"") == "mqtt.bad-topic"


def test_it_subscribes_and_receives_and_acknowledges_with_the_next_call():
    client, link = connected()
    link.say(b"\x90\x03\x00\x01\x01", b"\x32\x06\x00\x01a\x00\x07x")
    client.subscribe("a")
    assert client.receive(50).payload == b"x"
    assert b"\x40\x02\x00\x07" not in link.packets()
    assert client.receive(20) is None
    assert b"\x40\x02\x00\x07" in link.packets()
    link.say(b"\x90\x03\x00\x02\x80")
    assert code_of(client.subscribe, "b") == "mqtt.subscribe-refused"
    link.say(b"\xb0\x02\x00\x03")
    client.unsubscribe("a")
    client.disconnect()
    assert link.packets()[-2] == b"\x31\x1b\x00\x12devices/dev/statusoffline"
    assert link.packets()[-1] == b"\xe0\x00" and link.is_closed
    assert code_of(client.receive, 10) == "mqtt.not-connected"


def test_what_was_on_its_way_is_sent_again_by_the_next_connection():
    client, link = connected()
    link.cut()
    assert code_of(client.publish, "a", b"x") == "tls.closed"
    second = Link(PRESENT)
    assert reconnect(client, second)
    assert second.packets()[2:] == [b"\x3a\x06\x00\x01a\x00\x01x"]


def test_no_more_messages_are_on_their_way_than_may_be():
    client, link = connected(inflight=1)
    link.cut()
    assert code_of(client.publish, "a", b"x") == "tls.closed"
    for _ in range(3):  # connections that end before the broker acknowledges anything
        again = Link(PRESENT)
        reconnect(client, again)
        again.cut()
        assert code_of(client.publish, "a", b"y") == "tls.closed"
        assert again.packets()[2:] == [b"\x3a\x06\x00\x01a\x00\x01x"]
    last = Link(PRESENT, b"\x40\x02\x00\x01", b"\x40\x02\x00\x02")
    reconnect(client, last)
    client.publish("a", b"z")
    assert last.packets()[2:] == [
        b"\x3a\x06\x00\x01a\x00\x01x", b"\x32\x06\x00\x01a\x00\x02z",
    ]  # fmt: skip


def test_no_more_is_sent_again_at_once_than_the_broker_takes_now():
    client, link = connected(connack=CONNACK5, version=5, inflight=2)
    link.cut()
    assert code_of(client.publish, "a", b"x") == "tls.closed"
    link = Link(b"\x20\x03\x01\x00\x00")
    reconnect(client, link)
    link.cut()
    assert code_of(client.publish, "a", b"x") == "tls.closed"

    class Slow(Link):
        """Acknowledges one PUBLISH after the other; how many were sent by then."""

        def __init__(self, *says):
            super().__init__(*says)
            self.sent = []

        def poll(self, limit_ms):
            packets = [packet for packet in self.packets() if packet[0] >> 4 == 3][1:]
            if len(packets) > len(self.sent):
                self.sent.append(len(packets))
                self.say(b"\x40\x02\x00" + packets[-1][6:7])
            return super().poll(limit_ms)

    last = Slow(b"\x20\x06\x01\x00\x03\x21\x00\x01")
    reconnect(client, last)
    while client.session.inflight:
        client._turn(0)
    assert last.sent == [1, 2]


def test_a_qos_that_is_none_is_refused_before_anything_is_sent():
    client, link = connected()
    said = len(link.written)
    assert code_of(client.publish, "a", b"x", 3) == "mqtt.qos-not-supported"
    assert code_of(client.subscribe, "a", 3) == "mqtt.bad-property"
    assert len(link.written) == said


def test_time_limits_hold():
    client, link = connected()
    link.is_blocked = True
    steps = [0]

    def fast_ms():
        steps[0] += 1000
        return steps[0]

    plenty, keyfob.plenty_bytes = keyfob.plenty_bytes, -1  # so that no module is dropped
    from keyfob import connection, resuming

    kept = keyfob.blocking._now_ms, connection.now_ms
    keyfob.blocking._now_ms = connection.now_ms = resuming.now_ms = fast_ms
    try:
        assert code_of(client.publish, "a", b"x") == "tls.write-timeout"
        silent = Link()
        assert code_of(reconnect, client, silent) == "mqtt.no-connack"
        assert silent.is_closed
        assert reconnect(client, Link(PRESENT))
        assert code_of(client.publish, "a", b"x") == "mqtt.no-pingresp"
    finally:
        keyfob.blocking._now_ms, connection.now_ms = kept
        resuming.now_ms = connection.now_ms
        keyfob.plenty_bytes = plenty


def test_a_whole_program_is_kept_up():
    links = [Link(CONNACK), Link(b"\x20\x02\x00\x03"), Link(CONNACK)]
    client = BlockingClient(check(SETTINGS))
    calls = []

    async def open_link(is_flat):
        return links.pop(0)

    def program(given):
        assert given is client
        calls.append(len(links))
        if len(calls) == 1:
            client.stream.cut()
            client.publish("a", b"x")

    client.uplink.open = open_link
    client.uplink.check_up = lambda: None
    client.draw = bytes  # the shortest wait
    # With so much memory no module is dropped or emptied, which other tests have still.
    plenty, keyfob.plenty_bytes = keyfob.plenty_bytes, 0
    try:
        with Console() as console:
            while not client.run_once(program):
                pass
    finally:
        keyfob.plenty_bytes = plenty
    assert calls == [2, 0]
    assert [error["code"] for error in console.named("error")] == [
        "tls.closed", "mqtt.server-unavailable",
    ]  # fmt: skip
    assert len(console.named("mqtt.up")) == 2 and len(console.named("mqtt.down")) == 1


def test_a_connection_is_dropped_before_it_is_told_what_ended_it():
    seen = []
    client = BlockingClient(check(SETTINGS))

    async def open_link(is_flat):
        return Link(CONNACK)

    def program(client):
        raise MemoryError("of the program")

    def conclude(client, up_ms):
        seen.append((client.stream, up_ms >= 0))
        return kept(client, up_ms)

    client.uplink.open = open_link
    client.uplink.check_up = lambda: None
    client.draw = bytes
    plenty, keyfob.plenty_bytes = keyfob.plenty_bytes, 0  # so that no module is dropped
    from keyfob import backoff

    kept, backoff.conclude = backoff.conclude, conclude
    try:
        with Console() as console:
            assert not client.run_once(program)
    finally:
        backoff.conclude = kept
        keyfob.plenty_bytes = plenty
    assert seen == [(None, True)]
    for name in ("mqtt.down", "error"):
        (event,) = console.named(name)
        assert event["code"] == "tls.no-memory"
        assert event["detail"] == "connecting: of the program"


def test_a_message_that_the_program_was_not_done_with_comes_again():
    links = [
        Link(CONNACK, b"\x32\x06\x00\x01a\x00\x07x"),
        Link(PRESENT, b"\x3a\x06\x00\x01a\x00\x07x"),
    ]
    waiting, taken = links[:], []
    client = BlockingClient(check(SETTINGS))

    async def open_link(is_flat):
        return waiting.pop(0)

    def program(client):
        client.publish("b", b"y", qos=0)  # what came is read on the way
        client._turn(0)
        message = client.receive(0)
        taken.append(message and message.payload)
        if len(taken) == 1:
            raise MemoryError("of the program")
        client.receive(0)

    client.uplink.open = open_link
    client.uplink.check_up = lambda: None
    client.draw = bytes
    plenty, keyfob.plenty_bytes = keyfob.plenty_bytes, 0  # so that no module is dropped
    try:
        with Console():
            assert not client.run_once(program)
            assert client.run_once(program)
    finally:
        keyfob.plenty_bytes = plenty
    assert taken == [b"x", b"x"]
    acknowledged = [b"".join(link.written).count(b"\x40\x02\x00\x07") for link in links]
    assert acknowledged == [0, 1]


def kept_up_once(program):
    """(what `run_once` returned, the errors it told)."""
    client = BlockingClient(check(SETTINGS))

    async def open_link(is_flat):
        return Link(CONNACK)

    client.uplink.open = open_link
    client.uplink.check_up = lambda: None
    client.draw = bytes
    plenty, keyfob.plenty_bytes = keyfob.plenty_bytes, 0  # so that no module is dropped
    try:
        with Console() as console:
            return client.run_once(program), console.named("error")
    finally:
        keyfob.plenty_bytes = plenty


def test_a_program_that_used_up_the_stack_is_a_failure_to_wait_for():
    def deeper(client):
        deeper(client)

    is_done, (error,) = kept_up_once(deeper)
    assert not is_done
    assert error["code"] == "tls.no-memory" and "recursion" in error["detail"]


def test_any_other_runtime_error_is_a_defect_and_ends_the_program():
    def program(client):
        raise RuntimeError("of the program")

    try:
        kept_up_once(program)
    except RuntimeError as error:
        assert str(error) == "of the program"
    else:
        raise AssertionError("it was taken for a failed connection")


def test_a_message_above_the_buffer_is_told_and_skipped():
    packet = b"\x32\x85\x08\x00\x01a\x00\x09" + bytes(1024)
    client, link = connected(rx_bytes=128)
    link.say(*[packet[at : at + 50] for at in range(0, len(packet), 50)])
    link.say(b"\x30\x04\x00\x01az")
    with Console() as console:
        assert client.receive(1000).payload == b"z"
    assert console.named("error")[0]["code"] == "mqtt.too-large"
    assert b"\x40\x02\x00\x09" in link.packets()


def test_a_flood_of_qos_0_is_bounded_while_something_else_is_waited_for():
    client, link = connected(inbox=2)
    link.say(*[b"\x30\x04\x00\x01a" + bytes((number,)) for number in range(5)])
    link.say(b"\x40\x02\x00\x01")
    with Console() as console:
        client.publish("b", b"x")
    assert [error["code"] for error in console.named("error")] == ["mqtt.inbox-full"] * 3
    assert [client.receive(10).payload for _ in range(2)] == [b"\0", b"\1"]


def test_a_3_1_1_broker_is_spoken_to_in_its_own_version():
    for refusal in (b"\x20\x02\x00\x01", b"\x20\x03\x00\x84\x00"):
        links = [Link(refusal), Link(CONNACK)]
        waiting = links[:]
        client = BlockingClient(check(dict(SETTINGS, broker={"host": "b", "version": 5})))

        async def open_link(is_flat, waiting=waiting):
            return waiting.pop(0)

        client.uplink.open = open_link
        client.uplink.check_up = lambda: None
        client.draw = lambda count: b"\xff" * count  # a wait would be seen
        plenty, keyfob.plenty_bytes = keyfob.plenty_bytes, 0  # so that no module is dropped
        try:
            with Console() as console:
                assert not client.run_once(lambda client: None)
                assert client.run_once(lambda client: client.publish("a", b"x", 0))
        finally:
            keyfob.plenty_bytes = plenty
        assert [link.written[0][8] for link in links] == [5, 4]
        assert links[1].packets()[-1] == b"\x30\x04\x00\x01ax"
        (error,) = console.named("error")
        assert (error["code"], error["next_ms"]) == ("mqtt.unacceptable-protocol", 0)
