"""keyfob.outbox: damaged files, and file systems that fail, lose no more than they must."""

import hashlib
import os

from device_support import Console, code_of, refusal, write
from outbox_steps import TOPIC, drained, opened, read, segments, with_folder

from keyfob import outbox, outbox_segments
from keyfob.errors import KeyfobError


def test_a_damaged_record_is_told_and_those_behind_it_are_kept():
    def check(folder):
        box = opened(folder)
        for number in range(4):
            box.put(TOPIC, b"%d" % number * 150, 1, False)
        path = folder + "/" + segments(folder)[0]
        content = bytearray(read(path))
        content[len(content) // 4 + 30] ^= 0x10
        write(path, bytes(content))
        with Console() as console:
            left = drained(opened(folder))
        assert left == [b"%d" % number * 150 for number in (0, 2, 3)]
        assert console.named("error")[0]["code"] == "mqtt.outbox-damaged"
        assert "offset %d" % (len(content) // 4) in console.named("error")[0]["detail"]

    with_folder(check)


def test_other_bytes_anywhere_lose_no_more_than_the_messages_they_are_in():
    def check(folder):
        box = opened(folder)
        for number in range(4):
            box.put(TOPIC, b"%d" % number * 150, 1, False)
        path = folder + "/" + segments(folder)[0]
        whole = read(path)
        size = len(whole) // 4
        for at in range(0, len(whole), 3):
            content = bytearray(whole)
            content[at] ^= 0x81
            write(path, bytes(content))
            with Console():
                box = opened(folder)
                left = []
                while True:
                    message = box.next()
                    if not message:
                        break
                    left.append(message[2])
                    # Not `done`: the next round has them all again.
                    box._head.step()
                    box.rewind()
            want = [b"%d" % number * 150 for number in range(at // size)]
            assert left[: len(want)] == want, at
            assert len(left) <= 3, at

    with_folder(check)


def test_marks_that_are_lost_cost_a_second_sending_and_no_message():
    def check(folder):
        box = opened(folder)
        for number in range(3):
            box.put(TOPIC, b"%d" % number, 1, False)
        box.done(box.next()[0])
        write(folder + "/marks", b"\xff" * 20)
        assert drained(opened(folder))[-2:] == [b"1", b"2"]
        assert opened(folder).next() is None

    with_folder(check)


def test_files_of_others_are_left_alone():
    def check(folder):
        os.mkdir(folder)
        write(folder + "/README", "mine")
        box = opened(folder)
        box.put(TOPIC, b"1", 1, False)
        assert drained(box) == [b"1"]
        assert sorted(os.listdir(folder)) == ["README", "marks"]

    with_folder(check)


class FullDisk:
    """``open`` of a file system on which nothing can be written any more."""

    def __init__(self, error):
        self._error = error

    def __call__(self, path, mode="rb"):
        if mode == "rb":
            return open(path, mode)
        raise self._error


def test_a_file_system_that_fails_is_told_and_can_be_tried_again():
    def check(folder):
        box = opened(folder)
        box.put(TOPIC, b"1", 1, False)
        outbox.open = FullDisk(OSError(28))
        try:
            error = refusal(box.put, TOPIC, b"2", 1, False)
            assert error.code == "mqtt.outbox-failed"
            assert "28" in error.detail
            token = box.next()[0]
            assert code_of(box.done, token) == "mqtt.outbox-failed"
            assert code_of(box.released, token) == "mqtt.outbox-failed"
            assert (box.count, box.next()) == (1, None)
        finally:
            del outbox.open
        box.done(token)
        box.put(TOPIC, b"3", 1, False)
        assert drained(opened(folder)) == [b"3"]

    with_folder(check)


class FailingWrites:
    """``open`` of a file system on which the write after so many fails."""

    def __init__(self, left, error):
        self._left, self._error = left, error

    def __call__(self, path, mode="rb"):
        self._path = path
        return open(path, mode) if mode == "rb" else self

    def write(self, data):
        self._left -= 1
        if self._left < 0:
            raise self._error
        with open(self._path, "ab") as file:
            return file.write(data)

    def __enter__(self):
        with open(self._path, "ab"):
            return self

    def __exit__(self, *_):
        pass


def test_a_put_that_fails_at_any_write_harms_no_other():
    for left in range(4):
        for error in (OSError(28), MemoryError("allocating")):
            for filler in (b"", b"x" * 100):  # behind that one, a new segment begins
                with_folder(check_failing_put, left, error, filler)


def check_failing_put(folder, left, error, filler):
    box = opened(folder)
    if filler:
        box.put(TOPIC, filler, 1, False)
    outbox.open = FailingWrites(left, error)
    try:
        if isinstance(error, OSError):
            assert code_of(box.put, TOPIC, b"1", 1, False) == "mqtt.outbox-failed"
        else:
            try:
                box.put(TOPIC, b"1", 1, False)
                raise AssertionError
            except MemoryError:
                pass
    finally:
        del outbox.open
    box.put(TOPIC, b"1", 1, False)
    box.put(TOPIC, b"2", 1, False)
    wanted = ([filler] if filler else []) + [b"1", b"2"]
    with Console() as console:
        again = opened(folder)
        assert again.count == box.count == len(wanted)
        assert drained(again) == wanted, (left, error)
    assert console.events == []


def test_puts_that_fail_over_and_over_leave_nothing_behind():
    def check(folder):
        box = opened(folder)
        for _ in range(20):
            outbox.open = FailingWrites(2, OSError(28))
            try:
                assert code_of(box.put, TOPIC, b"1", 1, False) == "mqtt.outbox-failed"
            finally:
                del outbox.open
        assert segments(folder) == []
        box.put(TOPIC, b"2", 1, False)
        assert drained(opened(folder)) == [b"2"]

    with_folder(check)


class UnreadableSegments:
    """``open`` of a file system that can read its marks alone."""

    def __init__(self, error):
        self._error = error

    def __call__(self, path, mode="rb"):
        if mode == "rb":
            raise self._error
        return open(path, mode)


def test_messages_are_found_again_after_one_could_not_be_looked_for():
    def check(folder, error):
        box = opened(folder)
        for number in range(4):
            box.put(TOPIC, b"%d" % number * 60, 1, False)
        token = box.next()[0]
        outbox_segments.open = UnreadableSegments(error)
        try:
            box.done(token)
            raise AssertionError
        except (MemoryError, KeyfobError):
            pass
        finally:
            del outbox_segments.open
        box.done(token)  # it was, so nothing
        box.put(TOPIC, b"4" * 60, 1, False)
        assert box.count == 4
        assert drained(box) == [b"%d" % number * 60 for number in range(1, 5)]
        assert segments(folder) == []

    for error in (OSError(5), MemoryError("allocating")):
        with_folder(check, error)


def test_records_are_as_they_are_described():
    def check(folder):
        # The block of properties: MQTT 5.0 sections 2.2.2 and 3.3.2.3.3.
        plain = b"\x52\0\0\0\x07\0\x01\0\x02" + b"t" + b"xy"
        of_5 = b"\x5d\0\0\0\x08\0\x01\0\x08" + b"t" + b"\x05\x02\0\0\x0e\x10" + b"xy"
        content = b""
        for record in (plain, of_5):
            content += record + hashlib.sha256(record).digest()[:4]
        os.mkdir(folder)
        write(folder + "/00000007", content)
        box = opened(folder)
        assert box.next()[:6] + box._head.read()[1:] == (
            7,
            "t",
            b"xy",
            1,
            False,
            0xFF07,
            b"xy",
            0x52,
        )
        box.done(7)
        properties = {"message_expiry_interval": 3600}
        assert box.next() == (8, "t", b"xy", 2, True, 0xFF08, False, False, properties)
        again = opened(folder)
        again.done(8)
        again.put("t", b"xy", 1, False)
        again.put("t", b"xy", 2, True, properties)
        written = read(folder + "/" + segments(folder)[0])
        assert written[:4] + written[5:12] == plain[:4] + plain[5:]
        assert written[16:20] + written[21:34] == of_5[:4] + of_5[5:]
        assert len(written) == len(content)

    with_folder(check)


def test_a_file_in_the_place_of_the_folder_is_told():
    def check(folder):
        write(folder, "no folder")
        assert code_of(opened, folder) == "mqtt.outbox-failed"

    with_folder(check)
