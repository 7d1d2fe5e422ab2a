"""keyfob.blocking: more messages at the broker than the board has room for."""

from device_support import Console, KeyfobError, code_of
from scripted_broker import PRESENT, Link
from test_client_blocking import connected, reconnect


def message(packet_id, payload, qos=1, is_again=False):
    first = 0x30 | qos << 1 | (8 if is_again else 0)
    return bytes((first, 5 + len(payload), 0, 1)) + b"a" + bytes((0, packet_id)) + payload


def acknowledged(link):
    return [packet[3] for packet in link.packets() if packet[0] == 0x40]


def test_messages_that_there_is_no_room_for_come_again_in_their_order():
    client, link = connected(inbox=2)
    link.say(*[message(number, b"%d" % number) for number in range(10, 15)], b"\x40\x02\x00\x01")
    client.publish("b", b"x")  # its answer is behind them all
    assert [client.receive(1000).payload, client.receive(1000).payload] == [b"10", b"11"]
    link.say(message(15, b"15"), b"\x40\x02\x00\x02")
    assert code_of(client.receive, 1000) == "mqtt.more-waiting"
    assert acknowledged(link) == [10, 11]
    # They are on their way to a broker that has answered what was sent behind them.
    assert link.packets()[-1][:2] == b"\x33\x1c" and link.packets()[-1][-8:] == b"\x00\x02online"
    again = Link(PRESENT, *[message(number, b"%d" % number, 1, True) for number in range(12, 16)])
    reconnect(client, again)
    assert [client.receive(1000).payload for _ in range(4)] == [b"12", b"13", b"14", b"15"]
    assert client.receive(0) is None
    assert acknowledged(again) == [12, 13, 14, 15]


def test_no_more_bytes_are_kept_than_a_buffer_holds():
    client, link = connected(rx_bytes=256)
    large = b"." * 100
    link.say(*[message(number, large) for number in range(10, 15)], b"\x40\x02\x00\x01")
    client.publish("b", b"x")
    assert [len(client.receive(1000).payload) for _ in range(2)] == [100, 100]
    link.say(b"\x40\x02\x00\x02")
    assert code_of(client.receive, 1000) == "mqtt.more-waiting"
    assert acknowledged(link) == [10, 11]


def test_nothing_is_read_behind_a_message_that_the_program_has_not_got():
    client, link = connected(inbox=1)
    link.say(b"".join(message(number, b"%d" % number) for number in range(10, 30)))
    assert [int(client.receive(1000).payload) for _ in range(20)] == list(range(10, 30))
    link.say(b"".join(b"\x30\x04\x00\x01a%d" % number for number in range(5)))
    assert [int(client.receive(1000).payload) for _ in range(5)] == list(range(5))
    assert client.receive(0) is None
    assert acknowledged(link) == list(range(10, 30))


def test_messages_of_qos_2_come_again_too():
    client, link = connected(inbox=1)
    link.say(*[message(number, b"%d" % number, 2) for number in (10, 11)], b"\x40\x02\x00\x01")
    client.publish("b", b"x")
    assert client.receive(1000).payload == b"10"
    link.say(b"\x40\x02\x00\x02")
    assert code_of(client.receive, 1000) == "mqtt.more-waiting"
    assert client.kept.held == [10]
    again = Link(PRESENT, message(11, b"11", 2, True))
    reconnect(client, again)
    assert client.receive(1000).payload == b"11"


def test_what_has_qos_0_gives_way_before_a_connection_has_to_end():
    client, link = connected(inbox=1)
    at_most_once = b"\x30\x04\x00\x01ax"
    link.say(at_most_once, at_most_once, message(10, b"10"), b"\x40\x02\x00\x01")
    with Console() as console:
        client.publish("b", b"x")
    assert [error["code"] for error in console.named("error")] == ["mqtt.inbox-full"] * 2
    assert client.receive(1000).payload == b"10"
    assert client.receive(0) is None
    assert acknowledged(link) == [10]


def test_the_error_says_how_many():
    client, link = connected(inbox=1)
    link.say(*[message(number, b"x") for number in (10, 11, 12)], b"\x40\x02\x00\x01")
    client.publish("b", b"x")
    client.receive(1000)
    link.say(b"\x40\x02\x00\x02")
    try:
        client.receive(1000)
    except KeyfobError as error:
        assert error.detail == "2 come again"
    else:
        assert not "refused"
