"""keyfob.events and keyfob.board: one line an event, compact JSON, `t` and `ev` first."""

import machine
from device_support import Console

from keyfob import board, events
from keyfob.backoff import is_stop
from keyfob.errors import KeyfobError


def test_an_event_is_one_compact_line():
    with Console() as console:
        events.emit("publish", topic='a"b', bytes=3, nested={"x": [1, 2]})
    line = console.lines[0]
    assert line.startswith('kf {"t":')
    assert line.endswith(',"ev":"publish","bytes":3,"nested":{"x":[1,2]},"topic":"a\\"b"}')
    assert "\n" not in line


def test_control_characters_of_a_peer_stay_inside_the_line():
    with Console() as console:
        events.emit("command", topic="a\nkf {}\r\x1b[2J")
    assert "\n" not in console.lines[0] and "\x1b" not in console.lines[0]
    assert console.events[0]["topic"] == "a\nkf {}\r\x1b[2J"


def test_an_error_says_how_it_is_retried_and_when():
    with Console() as console:
        events.emit_error(KeyfobError("x509.expired", "seen, want"), 90_000)
        events.emit_error(KeyfobError("wifi.lost"))
    stop, wait = console.events
    assert (stop["code"], stop["detail"], stop["retry"], stop["next_ms"]) == (
        "x509.expired", "seen, want", "stop", 90_000,
    )  # fmt: skip
    assert (wait["retry"], wait["next_ms"]) == ("wait", 0)


def test_errors_print_code_and_evidence():
    assert str(KeyfobError("tls.refused", "port 1")) == "tls.refused: port 1"
    assert str(KeyfobError("tls.refused")) == "tls.refused"


def test_certificates_and_authorization_stop_network_and_clock_wait():
    for code in ("x509.untrusted", "store.missing", "config.missing", "tls.alert-unknown-ca"):
        assert is_stop(code), code
    for code in ("wifi.lost", "clock.no-answer", "tls.refused", "mqtt.no-pingresp"):
        assert not is_stop(code), code


def test_boot_tells_cause_version_and_chip():
    with Console() as console:
        board.emit_boot()
        machine.cause = machine.DEEPSLEEP_RESET
        board.emit_boot()
        machine.cause = 99
        board.emit_boot()
        machine.cause = machine.PWRON_RESET
    assert [event["cause"] for event in console.events] == ["pwron", "deepsleep", "99"]
    assert console.events[0]["device"] == "240ac40001fe"
    assert console.events[0]["version"] == "0.1.0"
