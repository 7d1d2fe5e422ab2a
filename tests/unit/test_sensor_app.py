"""apps.sensor and apps.sensor_small: readings, colours, commands, and a sensor that fails."""

import asyncio
import json

import dht
import neopixel
from device_support import Console, code_of, run

from apps import sensor, sensor_small
from apps.sensor_core import Sensor
from keyfob.errors import KeyfobError
from keyfob.inbox import Message

PREFIX = "devices/dev"


class Over(Exception):
    """The story of a `SmallWire` is over."""


class Wire:
    """What the application on asyncio asks of a client: publishes are kept, commands given."""

    def __init__(self, *commands):
        self.published = []
        self._commands = [command.encode() for command in commands]
        self.clock = self

    def now_s(self):
        return 1_800_000_000

    config = {"device_id": "dev"}  # noqa: RUF012 - nobody changes it

    async def connected(self):
        pass

    async def publish(self, topic, payload, qos=1, retain=False):
        self.published.append((topic, json.loads(payload.decode()), retain))

    def messages(self, topic_filter):
        assert topic_filter == PREFIX + "/command"
        return self

    def __aiter__(self):
        return self

    async def __anext__(self):
        if not self._commands:
            raise StopAsyncIteration
        return Message(PREFIX + "/command", self._commands.pop(0), 1, False)


class SmallWire(Wire):
    """What the application without asyncio asks of one. After ``turns`` waits it is over."""

    session_present = False

    def __init__(self, *commands, turns=0, refuses=""):
        super().__init__(*commands)
        self._turns = turns
        self._refuses = refuses
        self.filters = []

    def subscribe(self, topic_filter):
        self.filters.append(topic_filter)
        if topic_filter == self._refuses:
            raise Over

    def publish(self, topic, payload, qos=1, retain=False):
        self.published.append((topic, json.loads(payload.decode()), retain))

    def receive(self, limit_ms):
        assert 0 < limit_ms <= 3_600_000
        if self._commands:
            return Message(PREFIX + "/command", self._commands.pop(0), 1, False)
        self._turns -= 1
        if self._turns < 0:
            raise Over
        return Message(PREFIX + "/command", b'{"period_s": 3600}', 1, False)  # the next reading


def make(**settings):
    base = {"name": "sensor", "period_s": 3600, "dht_pin": 4, "pixel_pin": 5, "pixels": 1}
    base.update(settings)
    del neopixel.shown[:]
    return Sensor(base)


def readings(values):
    """(what was published, events) of that many readings."""
    dht.values[:] = values
    made = make()
    wire = Wire()

    async def main():
        wake = asyncio.Event()
        task = asyncio.create_task(sensor._publish_readings(wire, made, PREFIX, wake))
        for _ in values:
            await asyncio.sleep_ms(5)
            wake.set()
        await asyncio.sleep_ms(5)
        task.cancel()

    with Console() as console:
        run(main())
    return wire.published[: len(values)], console


def command(*texts):
    """(sensor, what was published, events) after these commands."""
    made = make()
    wire = Wire(*texts)

    async def main():
        await sensor._obey(wire, made, PREFIX, asyncio.Event())

    with Console() as console:
        run(main())
    return made, wire.published, console


def refusal_of(kind, function, *arguments):
    """Whether ``function`` ended with an exception of that kind."""
    try:
        function(*arguments)
    except kind:
        return True
    return False


def small(wire, values):
    """What the application without asyncio published, and its events."""
    dht.values[:] = values
    with Console() as console:
        notes = {"renew_s": 1 << 40, "slot": "", "state": "{", "message": 978}
        assert refusal_of(Over, sensor_small._serve, wire, make(), PREFIX, notes)
    # What it tells of its identity is `test_rotation`'s matter.
    return [one for one in wire.published if "identity" not in one[0]], console


def test_without_asyncio_it_publishes_obeys_and_answers():
    wire = SmallWire('{"color": [1, 2, 3]}', "x", '{"thresholds": {"red_above_c": 30}}', turns=1)
    published, console = small(wire, [(21.5, 40.0), (22.5, 41.0), (23.5, 42.0)])
    assert wire.filters == ["devices/dev/command", "devices/dev/identity/set"]
    assert [topic[12:] for topic, _, _ in published] == [
        "reading", "state", "state", "reading", "state", "reading",
    ]  # fmt: skip
    assert [retain for _, _, retain in published] == [False, True, True, False, True, False]
    assert published[1][1]["color"] == [1, 2, 3] and published[2][1]["red_above_c"] == 30
    assert [reading["seq"] for _, reading, _ in published if "seq" in reading] == [1, 2, 3]
    assert len(console.named("command")) == 4 and len(console.named("publish")) == 6
    assert len(console.named("app.bad-command")) == 1
    assert neopixel.shown[:3] == [(0, 32, 0), (1, 2, 3), (0, 32, 0)]


def filters_of_a_second_connection(refuses="", is_present=True):
    """What it subscribed to then, and of which topic one message waits at most."""
    notes = {"renew_s": 1 << 40, "slot": ""}
    second = SmallWire()
    second.session_present = is_present
    dht.values[:] = [(21.5, 40.0)] * 2
    with Console():
        for wire in (SmallWire(refuses=refuses), second):
            assert refusal_of(Over, sensor_small._serve, wire, make(), PREFIX, notes)
    return second.filters, second.single


def test_without_asyncio_it_subscribes_again_only_where_the_session_is_new():
    both, single = ["devices/dev/command", "devices/dev/identity/set"], "devices/dev/identity/set"
    assert filters_of_a_second_connection() == ([], single)
    assert filters_of_a_second_connection(is_present=False) == (both, single)


def test_without_asyncio_a_subscription_that_was_not_granted_is_asked_for_again():
    both, single = ["devices/dev/command", "devices/dev/identity/set"], "devices/dev/identity/set"
    for at, topic_filter in enumerate(both):
        assert filters_of_a_second_connection(topic_filter) == (both[at:], single)
        assert filters_of_a_second_connection(topic_filter, is_present=False) == (both, single)


def test_without_asyncio_a_new_session_that_was_lost_at_once_is_subscribed_in_the_next_time():
    notes = {"renew_s": 1 << 40, "slot": ""}
    both = ["devices/dev/command", "devices/dev/identity/set"]
    dht.values[:] = [(21.5, 40.0)] * 4
    with Console():
        for is_present, refuses, want in (
            (False, "", both), (True, "", []), (False, both[0], both[:1]), (True, "", both),
        ):  # fmt: skip
            wire = SmallWire(refuses=refuses)
            wire.session_present = is_present
            assert refusal_of(Over, sensor_small._serve, wire, make(), PREFIX, notes)
            assert wire.filters == want


def test_without_asyncio_a_session_of_another_program_is_subscribed_in_all_the_same():
    wire = SmallWire()
    wire.session_present = True
    small(wire, [(21.5, 40.0)])
    assert wire.filters == ["devices/dev/command", "devices/dev/identity/set"]


def test_without_asyncio_a_sensor_that_fails_is_told_and_the_next_reading_comes():
    published, console = small(SmallWire(turns=1), [OSError(110), (21.5, 40.0)])
    assert "110" in console.named("app.sensor-failed")[0]["detail"]
    assert published[1][1]["temperature_c"] == 21.5


def test_a_reading_is_json_with_time_and_sequence():
    published, _ = readings([(21.5, 40.0), (22.5, 41.0)])
    assert published[0] == (
        "devices/dev/reading",
        {"temperature_c": 21.5, "humidity_percent": 40.0, "t": 1_800_000_000, "seq": 1},
        False,
    )
    assert published[1][1]["seq"] == 2


def test_the_colour_follows_the_thresholds():
    readings([(17.9, 1), (18.0, 1), (25.0, 1), (25.1, 1)])
    assert neopixel.shown[:4] == [(0, 0, 32), (0, 32, 0), (0, 32, 0), (32, 0, 0)]


def test_a_sensor_that_fails_is_told_and_the_next_reading_comes():
    published, console = readings([OSError(110), (21.5, 40.0)])
    assert "110" in console.named("app.sensor-failed")[0]["detail"]
    assert published[0][1]["temperature_c"] == 21.5


def test_a_commanded_colour_is_shown_at_once_and_answered_retained():
    made, published, console = command('{"color": [1, 2, 3]}')
    assert neopixel.shown == [(1, 2, 3)]
    topic, state, retain = published[0]
    assert (topic, state["color"], retain) == ("devices/dev/state", [1, 2, 3], True)
    assert state["free_bytes"] >= 0
    assert console.named("command")[0]["topic"] == "devices/dev/command"
    dht.values[:] = [(0.0, 1)]
    made.read(0)
    assert neopixel.shown[-1] == (1, 2, 3)  # the thresholds do not take it away


def test_thresholds_end_a_commanded_colour():
    made, published, _ = command(
        '{"color": [1, 2, 3]}', '{"thresholds": {"blue_below_c": 5, "red_above_c": 6.5}}'
    )
    dht.values[:] = [(6.0, 1)]
    made.read(0)
    assert neopixel.shown[-1] == (0, 32, 0)
    state = published[1][1]
    assert (state["blue_below_c"], state["red_above_c"]) == (5, 6.5)


def test_one_threshold_leaves_the_other():
    _, published, _ = command('{"thresholds": {"red_above_c": 30}}')
    state = published[0][1]
    assert (state["blue_below_c"], state["red_above_c"]) == (18, 30)


def test_the_period_can_be_commanded():
    made, published, _ = command('{"period_s": 1}')
    assert made.state["period_s"] == published[0][1]["period_s"] == 1


BAD = (
    "", "x", "[]", "5", "null", '{"colour": [1, 2, 3]}', '{"color": [1, 2]}', '{"color": "red"}',
    '{"color": [1, 2, 256]}', '{"color": [1, 2, -1]}', '{"color": [1, 2, 1.5]}',
    '{"period_s": 0}', '{"period_s": "1"}', '{"period_s": true}', '{"thresholds": {}}',
    '{"thresholds": {"x": 1}}', '{"thresholds": {"red_above_c": 81}}',
    '{"color": [1, 2, 3], "period_s": 0}',
)  # fmt: skip


def test_a_bad_command_is_told_and_changes_nothing():
    for text in BAD:
        _, published, console = command(text, '{"period_s": 7}')
        assert len(console.named("app.bad-command")) == 1, text
        assert [state["period_s"] for _, state, _ in published] == [7], text
        assert neopixel.shown == [], text


def test_settings_of_the_app_are_checked():
    def check(**app):
        code = code_of(sensor_small.run, {"device_id": "dev", "app": app})
        assert code_of(lambda: run(sensor.run({"device_id": "dev", "app": app}))) == code
        return code

    assert check(period=1) == "config.unknown-key"
    assert check(period_s=0) == "config.out-of-range"
    assert check(pixels="1") == "config.wrong-type"


class Reset(Exception):
    """The board starts again."""


class Short:
    """A blocking client whose last attempt ended with ``code``, or with a MemoryError."""

    def __init__(self, code="tls.no-memory", was_open=False, on_trial=False):
        self.failure = KeyfobError(code, "") if code else MemoryError()
        self.uplink = self
        self.was_open = was_open
        self.on_trial = on_trial


def failures_until_reset(client, most=20, notes=None):
    """How many such failures in a row it takes; 0 if that many do not."""

    class Machine:
        @staticmethod
        def reset():
            raise Reset

    notes = {} if notes is None else notes
    before, sensor_small.machine = sensor_small.machine, Machine
    try:
        for count in range(1, most + 1):
            try:
                sensor_small._mend_heap(client, notes)
            except Reset:
                return count
        return 0
    finally:
        sensor_small.machine = before


def test_a_heap_in_pieces_is_mended_by_a_reset_behind_three_failures():
    assert failures_until_reset(Short(was_open=True)) == 3
    assert failures_until_reset(Short("", was_open=True)) == 3


def test_a_heap_that_was_never_enough_is_tried_anew_only_now_and_then():
    assert failures_until_reset(Short()) == 10


def test_an_identity_on_trial_is_not_blamed_for_a_short_heap():
    assert failures_until_reset(Short(on_trial=True)) == 1


def test_other_failures_reset_nothing_and_are_no_part_of_the_row():
    assert failures_until_reset(Short("tls.reset", was_open=True)) == 0
    notes = {}
    assert failures_until_reset(Short(was_open=True), most=2, notes=notes) == 0
    assert failures_until_reset(Short("tls.refused", was_open=True), most=1, notes=notes) == 0
    assert failures_until_reset(Short(was_open=True), notes=notes) == 3
