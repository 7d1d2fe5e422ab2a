"""keyfob.outbox: stored messages come back whole, in order, within their bounds."""

import os
from array import array

from device_support import Console, code_of, refusal
from outbox_steps import OVERHEAD, TOPIC, drained, opened, segments, with_folder

from keyfob.outbox_segments import segment_after


def test_a_new_outbox_is_empty_and_writes_nothing():
    def check(folder):
        box = opened(folder)
        assert box.next() is None
        assert (box.count, box.size) == (0, 0)
        assert segment_after(folder, 0) == 0

    with_folder(check)


def test_a_message_comes_back_whole_after_power_was_lost():
    def check(folder):
        payload = bytes(range(256)) * 3
        opened(folder).put("devices/sensor-01/müde", payload, 2, True)
        box = opened(folder)
        assert (box.count, box.size) == (1, OVERHEAD + len("devices/sensor-01/müde".encode()) + 768)
        token, topic, seen, qos, retain, packet_id, was_sent, is_released, of_5 = box.next()
        assert (topic, seen, qos, retain) == ("devices/sensor-01/müde", payload, 2, True)
        assert packet_id == 0xFF00 | token & 0xFF
        assert was_sent and not is_released  # it may have been sent before
        assert of_5 is None

    with_folder(check)


def test_a_message_that_was_just_stored_was_not_sent():
    def check(folder):
        box = opened(folder)
        box.put(TOPIC, b"", 1, False)
        assert box.next()[2:5] == (b"", 1, False)
        assert not opened(folder).next()[7]

    with_folder(check)


def test_the_oldest_is_given_out_once_until_it_is_done_or_asked_for_anew():
    def check(folder):
        box = opened(folder)
        box.put(TOPIC, b"1", 1, False)
        box.put(TOPIC, b"2", 1, False)
        first = box.next()
        assert (first[2], first[6]) == (b"1", False)
        assert box.next() is None
        box.rewind()
        again = box.next()
        assert again[:6] == first[:6] and again[6]
        box.done(first[0])
        second = box.next()
        assert (second[2], second[6]) == (b"2", False)
        box.done(first[0])  # a late second PUBACK
        assert box.count == 1
        box.done(second[0])
        assert (box.count, box.size, box.next()) == (0, 0, None)

    with_folder(check)


def test_messages_keep_their_order_and_their_identifiers_over_power_cuts():
    def check(folder):
        for number in range(40):
            opened(folder).put(TOPIC, b"%d" % number, 1 + number % 2, False)
        seen = []
        for _ in range(40):
            box = opened(folder)
            message = box.next()
            assert message[5] == opened(folder).next()[5]
            seen.append(message[2])
            box.done(message[0])
        assert seen == [b"%d" % number for number in range(40)]
        assert opened(folder).next() is None

    with_folder(check)


def test_a_message_that_was_released_stays_so():
    def check(folder):
        box = opened(folder)
        box.put(TOPIC, b"1", 2, False)
        box.put(TOPIC, b"2", 2, False)
        token = box.next()[0]
        box.released(token)
        again = opened(folder)
        message = again.next()
        assert message[0] == token and message[6] and message[7]
        again.released(token + 1)  # not the head: nothing
        again.done(token)
        packet_id = 0xFF00 | (token + 1) & 0xFF
        assert again.next()[2:] == (b"2", 2, False, packet_id, False, False, None)

    with_folder(check)


def test_neighbours_never_share_an_identifier_nor_leave_the_range():
    def check(folder):
        box = opened(folder)
        identifiers = []
        for _ in range(300):
            box.put(TOPIC, b"", 1, False)
            message = box.next()
            identifiers.append(message[5])
            box.done(message[0])
        assert min(identifiers) >= 0xFF00 and max(identifiers) <= 0xFFFF
        assert len(set(identifiers[:256])) == 256

    with_folder(check)


def test_numbers_go_on_after_everything_was_sent_and_power_was_lost():
    def check(folder):
        box = opened(folder)
        box.put(TOPIC, b"", 1, False)
        token = box.next()[0]
        box.done(token)
        again = opened(folder)
        again.put(TOPIC, b"", 1, False)
        assert again.next()[0] == token + 1

    with_folder(check)


def test_a_full_outbox_refuses_by_count_and_by_bytes():
    def check(folder):
        box = opened(folder, messages=2)
        box.put(TOPIC, b"1", 1, False)
        box.put(TOPIC, b"2", 1, False)
        error = refusal(box.put, TOPIC, b"3", 1, False)
        assert error.code == "mqtt.outbox-full"
        assert error.detail == "2 messages, %d bytes" % (2 * (OVERHEAD + len(TOPIC) + 1))
        assert drained(box) == [b"1", b"2"]
        record = OVERHEAD + len(TOPIC) + 100
        box = opened(folder, bytes=2 * record)
        box.put(TOPIC, b"x" * 100, 1, False)
        box.put(TOPIC, b"y" * 100, 1, False)
        assert code_of(box.put, TOPIC, b"", 1, False) == "mqtt.outbox-full"
        assert code_of(box.put, TOPIC, b"x" * 300, 1, False) == "mqtt.too-large"
        assert len(drained(box)) == 2

    with_folder(check)


def test_a_full_outbox_drops_the_oldest_if_it_may_and_says_which():
    def check(folder):
        box = opened(folder, messages=3, when_full="drop-oldest")
        with Console() as console:
            for number in range(10):
                box.put("t/%d" % number, b"%d" % number, 1, False)
        assert [event["detail"] for event in console.named("error")] == [
            "t/%d" % number for number in range(7)
        ]
        assert console.named("error")[0]["code"] == "mqtt.outbox-dropped"
        assert box.count == 3
        assert opened(folder).count == 3
        assert drained(opened(folder)) == [b"7", b"8", b"9"]

    with_folder(check)


def test_what_is_on_its_way_is_never_dropped():
    def check(folder):
        box = opened(folder, messages=3, when_full="drop-oldest")
        for number in range(3):
            box.put(TOPIC, b"%d" % number, 2, False)
        token = box.next()[0]
        with Console():
            for number in range(3, 20):
                box.put(TOPIC, b"%d" % number, 2, False)
        box.released(token)
        again = opened(folder, messages=3, when_full="drop-oldest")
        assert again.count == 3
        assert again.next()[0] == token
        with Console():
            again.put(TOPIC, b"20", 2, False)
        again.done(token)
        assert drained(opened(folder)) == [b"19", b"20"]
        assert segments(folder) == []

    with_folder(check)


def test_a_message_on_its_way_leaves_no_room_for_a_large_one():
    def check(folder):
        box = opened(folder, bytes=200, when_full="drop-oldest")
        box.put(TOPIC, b"x" * 100, 2, False)
        box.next()
        assert code_of(box.put, TOPIC, b"y" * 100, 2, False) == "mqtt.outbox-full"

    with_folder(check)


def test_flash_in_use_stays_within_the_bounds_over_thousands_of_messages():
    def check(folder):
        box = opened(folder, messages=8, bytes=2048, when_full="drop-oldest")
        most = 0
        with Console() as console:
            for number in range(3000):
                box.put(TOPIC, b"x" * (number % 7 * 30), 1, False)
                if number % 5 == 0:
                    message = box.next()
                    if message:
                        box.done(message[0])
                if number % 11 == 0:
                    console.lines.clear()
                    console.events.clear()
                    names = os.listdir(folder)
                    most = max(most, sum(os.stat(folder + "/" + name)[6] for name in names))
        # What is stored, what is left of the segments at both ends, and the marks.
        assert most <= 2048 + 2 * 1024 + 2 * 128

    with_folder(check)


def test_small_messages_stay_in_files_that_littlefs_keeps_inline():
    def check(folder):
        box = opened(folder)
        for _ in range(30):
            box.put(TOPIC, b"x" * 40, 1, False)
        sizes = [os.stat(folder + "/" + name)[6] for name in segments(folder)]
        assert max(sizes) <= 128 and sum(sizes) == box.size
        for _ in range(30):
            message = box.next()
            box.done(message[0])
            assert os.stat(folder + "/marks")[6] <= 128

    with_folder(check)


def test_larger_messages_share_segments():
    def check(folder):
        box = opened(folder)
        for _ in range(20):
            box.put(TOPIC, b"x" * 200, 1, False)
        assert len(segments(folder)) == 5
        assert len(drained(box)) == 20

    with_folder(check)


def test_a_payload_that_is_no_bytes_is_refused_and_harms_no_other():
    def check(folder):
        box = opened(folder)
        box.put(TOPIC, b"1", 1, False)
        for payload in ("21.5", "21.5 °C", 5, None, [49], (3, None)):
            error = refusal(box.put, TOPIC, payload, 1, False)
            assert error.code == "mqtt.bad-property"
            assert str(type(payload)) in error.detail
        box.put(TOPIC, bytearray(b"2"), 1, False)
        box.put(TOPIC, memoryview(b"123")[2:], 1, False)
        box.put(TOPIC, memoryview(array("H", (0x3434, 0x3535))), 1, False)
        assert drained(opened(folder)) == [b"1", b"2", b"3", b"4455"]

    with_folder(check)


def test_properties_are_stored_with_their_message():
    def check(folder):
        properties = {
            "message_expiry_interval": 3600,
            "correlation_data": bytes(range(200)),
            "user_property": [("a", "1"), ("a", "ü")],
        }
        box = opened(folder)
        box.put(TOPIC, b"0", 1, False)
        box.put(TOPIC, b"1", 2, True, properties)
        box.put(TOPIC, b"", 1, False, {"content_type": "x"})
        box.put(TOPIC, b"3", 1, False, {})
        again = opened(folder)
        assert (again.count, again.size) == (box.count, box.size)
        seen = []
        for _ in range(4):
            message = again.next()
            seen.append(message[2:5] + message[8:])
            again.done(message[0])
        assert seen == [
            (b"0", 1, False, None), (b"1", 2, True, properties),
            (b"", 1, False, {"content_type": "x"}), (b"3", 1, False, None),
        ]  # fmt: skip

    with_folder(check)


def test_properties_that_are_none_or_too_large_are_refused_and_nothing_is_stored():
    def check(folder):
        box = opened(folder)
        bad = {"message_expiry_interval": "soon"}
        assert code_of(box.put, TOPIC, b"", 1, False, bad) == "mqtt.bad-property"
        assert code_of(box.put, TOPIC, b"", 1, False, {"colour": 1}) == "mqtt.bad-property"
        large = {"correlation_data": bytes(8192)}
        assert code_of(box.put, TOPIC, b"", 1, False, large) == "mqtt.too-large"
        box = opened(folder, bytes=200_000)
        behind = {"correlation_data": bytes(40_000)}
        assert code_of(box.put, TOPIC, bytes(40_000), 1, False, behind) == "mqtt.too-large"
        assert box.count == 0 and box.next() is None

    with_folder(check)
