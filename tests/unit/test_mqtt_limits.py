"""keyfob.mqtt.session: keep alive, and the time limits of what it waits for."""

from device_support import code_of
from mqtt_steps import CONNACK, feed, opened, publish, taken

from keyfob.mqtt import connect, subscribe
from keyfob.mqtt.session import Session
from keyfob.mqtt.state import since


def test_a_ping_is_due_when_nothing_was_sent_for_three_quarters_of_the_keep_alive():
    made = opened()
    assert not made.tick(22_499)
    publish(made, 0, now_ms=20_000)
    taken(made)
    assert not made.tick(42_499)
    assert made.tick(42_500)
    assert taken(made) == b"\xc0\x00"
    assert not made.tick(50_000)


def test_a_ping_without_answer_fails_the_session():
    made = opened()
    assert made.tick(22_500)
    assert not made.tick(37_500)
    assert code_of(made.tick, 37_501) == "mqtt.no-pingresp"
    assert code_of(publish, made) == "mqtt.not-connected"
    made = opened()
    made.tick(22_500)
    feed(made, b"\xd0\x00")
    assert not made.tick(37_501)


def test_who_does_not_read_still_pings_and_misses_no_answer():
    made = opened()
    publish(made)
    assert made.tick(22_500, True)
    assert not made.tick(44_999, True)
    assert made.tick(45_000, True)


def test_acknowledgements_have_a_time_limit():
    for qos in (1, 2):
        made = opened()
        publish(made, qos, now_ms=1_000)
        assert not made.tick(21_000)
        assert code_of(made.tick, 21_001) == "mqtt.no-puback"
    made = opened()
    subscribe.subscribe(made, 1_000, "a", 1)
    assert not made.tick(21_000)
    assert code_of(made.tick, 21_001) == "mqtt.no-suback"


def test_the_counter_of_time_may_wrap():
    assert since(0x3FFFFFFF - 1_000, 500) == 1_501
    made = Session(64, 64)
    connect.connect(made, 0x3FFFFFFF - 1_000, "id", 30, True)
    feed(made, CONNACK)
    assert not made.tick(21_498)
    assert made.tick(21_499)


def test_what_is_behind_a_large_payload_is_not_missed_while_that_comes():
    made = opened(rx_bytes=128)
    publish(made)
    made.tick(0)
    feed(made, b"\x30\x80\x80\x02\x00\x01a" + bytes(100))  # 32,768 bytes
    for now_ms in range(0, 100_000, 500):
        feed(made, bytes(100))
        made.tick(now_ms)  # with a PINGREQ now and then, whose answer is behind it too
    assert made.left and made.inflight
    assert code_of(made.tick, 119_501) == "mqtt.no-puback"


def test_a_large_payload_that_comes_by_single_bytes_is_silence():
    made = opened(rx_bytes=128)
    publish(made)
    feed(made, b"\x30\x80\x80\x02\x00\x01a" + bytes(100))
    made.tick(0)
    for now_ms in range(1_000, 20_001, 1_000):
        feed(made, b"x")
        made.tick(now_ms)
    assert code_of(made.tick, 20_501) == "mqtt.no-puback"
