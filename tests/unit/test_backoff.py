"""keyfob.backoff: bounds, growth, jitter."""

from device_support import HERE  # noqa: F401 - puts the firmware on the path

from keyfob.backoff import is_stop, next_ms


def most(count):
    return b"\xff" * count


def test_the_ceiling_doubles_from_half_a_second_to_a_minute():
    seen = [next_ms(attempt, False, most) for attempt in range(10)]
    assert seen == [499, 999, 1999, 3999, 7999, 15999, 31999, 59999, 59999, 59999]
    assert next_ms(1_000_000, False, most) == 59999


def test_jitter_reaches_down_to_nothing():
    assert [next_ms(attempt, False, bytes) for attempt in range(3)] == [0, 0, 0]


def test_half_of_the_draw_is_half_of_the_ceiling():
    seen = [next_ms(attempt, False, lambda count: b"\x80\x00") for attempt in range(3)]
    assert seen == [250, 500, 1000]


def test_what_needs_a_person_is_retried_slowly():
    assert next_ms(0, True, bytes) == 60_000
    assert next_ms(9, True, most) == 119_999


def test_a_code_is_of_one_class_whole_and_not_by_its_beginning():
    assert is_stop("mqtt.banned") and is_stop("tls.alert-unknown-ca") and is_stop("x509.expired")
    for code in ("mqtt.ban", "mqtt.no-puback", "tls.closed", "mqtt.", ""):
        assert not is_stop(code), code
