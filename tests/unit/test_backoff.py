"""keyfob.backoff: bounds, growth, jitter."""

from device_support import HERE  # noqa: F401 - puts the firmware on the path

from keyfob.backoff import Backoff

MOST = b"\xff\xff"


def test_the_ceiling_doubles_from_half_a_second_to_a_minute():
    backoff = Backoff(lambda: MOST)
    seen = [backoff.next_ms(False) for _ in range(10)]
    assert seen == [499, 999, 1999, 3999, 7999, 15999, 31999, 59999, 59999, 59999]


def test_jitter_reaches_down_to_nothing():
    backoff = Backoff(lambda: b"\0\0")
    assert [backoff.next_ms(False) for _ in range(3)] == [0, 0, 0]


def test_half_of_the_draw_is_half_of_the_ceiling():
    backoff = Backoff(lambda: b"\x80\x00")
    assert [backoff.next_ms(False) for _ in range(3)] == [250, 500, 1000]


def test_a_connection_that_stood_starts_over():
    backoff = Backoff(lambda: MOST)
    for _ in range(5):
        backoff.next_ms(False)
    backoff.reset()
    assert backoff.next_ms(False) == 499


def test_what_needs_a_person_is_retried_slowly_and_grows_nothing():
    assert Backoff(lambda: b"\0\0").next_ms(True) == 60_000
    backoff = Backoff(lambda: MOST)
    assert backoff.next_ms(True) == 119_999 or backoff.next_ms(True) == 119_998
    assert backoff.next_ms(False) == 499
