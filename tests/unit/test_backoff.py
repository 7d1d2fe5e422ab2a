"""keyfob.backoff: bounds, growth, jitter."""

from device_support import Console

from keyfob import events
from keyfob.backoff import conclude, is_stop, next_ms
from keyfob.errors import KeyfobError


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


class EndedClient:
    """What `conclude` asks of a client, which is its own uplink here."""

    version, attempts, quick_ends, session_present = 4, 0, 0, True
    draw = bytes

    def __init__(self, code="tls.closed"):
        self.failure = KeyfobError(code, "")
        self.uplink = self

    def drop_connection(self):
        pass

    def ended(self, error):
        return error


def test_connections_that_end_at_once_are_told_however_the_engine_calls_their_end():
    for code in ("tls.closed", "tls.reset", "tls.truncated"):
        client = EndedClient(code)
        with Console() as console:
            for _ in range(5):
                conclude(client, events.now_ms())
        codes = [event["code"] for event in console.named("error")]
        assert codes == [code] * 4 + ["mqtt.closed-again"]


def waits(client, lasted_ms, count=8):
    """The longest waits after so many connections that each stood so long."""
    client.draw = most
    with Console():
        return [conclude(client, (events.now_ms() - lasted_ms) & 0x3FFFFFFF) for _ in range(count)]


def test_waits_grow_where_a_broker_lets_us_in_and_hangs_up_at_once():
    want = [499, 999, 1999, 3999, 7999, 15999, 31999, 59999]
    for is_present in (True, False):
        client = EndedClient()
        client.session_present = is_present
        assert waits(client, 0) == want
        assert waits(client, 1_500, 2) == [59999, 59999]


def test_waits_begin_anew_after_a_connection_that_stood():
    client = EndedClient()
    assert waits(client, 0, 3) == [499, 999, 1999]
    assert waits(client, 2_000, 2) == [499, 499]
    assert waits(client, 100, 2) == [999, 1999]


def test_waits_grow_later_where_connections_stand_a_while_and_end_again():
    client = EndedClient()
    assert waits(client, 3_000, 9) == [499] * 5 + [999, 1999, 3999, 7999]


def test_a_connection_that_never_stood_makes_no_wait_shorter():
    client = EndedClient("tls.refused")
    client.draw = most
    with Console():
        assert [conclude(client, -1) for _ in range(3)] == [499, 999, 1999]
    assert waits(client, 0, 2) == [3999, 7999]
