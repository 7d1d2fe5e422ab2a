"""``keyfob doctor --explain``: what a person pastes comes back in words."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keyfob_host.device_errors import load_device_errors
from keyfob_host.doctor.catalogue import load_catalogue
from keyfob_host.doctor.explain import MAX_CHARS, Explanation, explain
from keyfob_host.doctor.readers import READERS
from keyfob_host.doctor.report import as_text
from keyfob_host.errors import ExitStatus, KeyfobHostError


def keyfob(*words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", "keyfob_host", *words],
        input=stdin, capture_output=True, text=True, timeout=30, check=False,
        env={**os.environ, "COLUMNS": "100"},
    )  # fmt: skip
    assert "Traceback" not in done.stderr
    return done


def causes(text: str) -> list[str]:
    return [cause.code for cause in explain(text).causes]


def names(text: str) -> list[str]:
    return [reading.name for one in explain(text).findings for reading in one.readings]


# What people paste, and the cause that comes first.
PASTED = {
    "-30592": "client-certificate.not-sent",
    "0x7780": "client-certificate.not-sent",
    "-0x7780": "client-certificate.not-sent",
    "-0x2700+-0x0060": "store.truncated",
    "OSError: (-17168, 'MBEDTLS_ERR_RSA_PRIVATE_FAILED+MBEDTLS_ERR_MPI_ALLOC_FAILED')":
        "tls.heap-too-small",
    "OSError(32)": "client-certificate.unknown-ca",
    "[Errno 104] ECONNRESET": "client-certificate.unknown-ca",
    "OSError: [Errno 118] EHOSTUNREACH": "tcp.unreachable",
    "ECONNREFUSED": "tcp.listener-down",
    "-202": "name.not-resolved",
    "OSError: -202": "name.not-resolved",
    "socket.gaierror: [Errno -2] Name or service not known": "name.not-resolved",
    "OSError: (-256, 'CONN_LOST')": "client-certificate.unknown-ca",
    "RECORD_OVERFLOW": "tls.chain-over-buffer",
    "-70": "tls.version",
    "error:0A000418:SSL routines::tlsv1 alert unknown ca": "client-certificate.unknown-ca",
    "sslv3 alert certificate expired": "client-certificate.expired",
    "verify error:num=20:unable to get local issuer certificate": "x509.wrong-anchor",
    "alert 51": "client-certificate.key-mismatch",
    "SSL alert number 70": "tls.version",
    "certificate_revoked": "client-certificate.revoked",
    "Certificate Revoked": "client-certificate.revoked",
    "got an alert message, type: [2:48]": "client-certificate.unknown-ca",
    "1700000000: Client s-01 already connected, closing old connection.": "mqtt.same-client-id",
    "1700000000: Client s-01 has exceeded timeout, disconnecting.": "traffic.keep-alive",
    "1700000000: Client s-01 [10.0.0.9:5] disconnected: exceeded timeout.": "traffic.keep-alive",
    "1700000000: Client connection from ::1 denied: max_connections exceeded.":
        "mqtt.too-many-connections",
    "Dropped too large PUBLISH from s-01 (d0, q0, r0, m0, 'a', ... (9 bytes))":
        "authorization.denied-topic",
    "Sending CONNACK to s-01 (0, 5)": "authorization.not-mapped",
    "MQTTException: 2": "mqtt.client-id-refused",
    "0x87": "authorization.not-mapped",
    "135": "authorization.not-mapped",
    "reason code 142": "mqtt.same-client-id",
    "failed, rc=-4 try again in 5 seconds": "tcp.wrong-port",
    "Failed to connect to ESP32: No serial data received.": "serial.no-answer",
    "Invalid head of packet (0x08): Possible serial noise or corruption.": "serial.noise",
    "rst:0x10 (RTCWDT_RTC_RESET),boot:0x13 (SPI_FAST_FLASH_BOOT)": "firmware.erased",
    "rst:0xf (RTCWDT_BROWN_OUT_RESET),boot:0x13": "firmware.power",
    "ets Jan  8 2013,rst cause:4, boot mode:(3,6)": "firmware.watchdog",
    "invalid header: 0xffffffff": "firmware.erased",
    "mpremote.transport.TransportError: could not enter raw repl": "serial.no-prompt",
    "MemoryError: memory allocation failed, allocating 4097 bytes": "firmware.out-of-memory",
    "ValueError: invalid cert": "store.wrong-form",
    "ValueError: incompatible .mpy file": "firmware.wrong-mpy",
    "ValueError: The certificate validity starts in the future": "clock.board-never-set",
    "esp-tls-mbedtls: mbedtls_ssl_handshake returned -0x2700": "x509.wrong-anchor",
    "wlan.status() -> 202": "wifi.password",
    "wifi: STA_DISCONNECTED, reason:15:": "wifi.password",
    "handshake failed, ACCEPT_SR_KEY_EXCH": "x509.wrong-anchor",
    "SL_ESECBADCAFILE": "store.wrong-form",
    "BearSSL: 54": "clock.board-never-set",
    "0A000418": "client-certificate.unknown-ca",
    "STAT_WRONG_PASSWORD": "wifi.password",
    "WIFI_REASON_4WAY_HANDSHAKE_TIMEOUT": "wifi.password",
    "MQTT_CONNECT_FAILED": "tcp.listener-down",
    "EAI_FAIL": "name.not-resolved",
    "WDT_RESET": "firmware.watchdog",
    "Connected with reason code Not authorized": "authorization.not-mapped",
    "on_disconnect: Session taken over": "mqtt.same-client-id",
    "kiss code RATE": "clock.no-ntp-answer",
    "x509.not-yet-valid": "clock.board-never-set",
}  # fmt: skip


@pytest.mark.parametrize(("pasted", "first"), PASTED.items())
def test_what_people_paste_leads_to_its_likeliest_cause(pasted: str, first: str) -> None:
    assert causes(pasted)[0] == first


@pytest.mark.parametrize("code", sorted(load_device_errors()))
def test_each_code_of_the_board_is_told_with_its_fix(code: str) -> None:
    (finding,) = explain(f'kf {{"t":1,"ev":"error","code":"{code}","detail":""}}').findings
    assert finding.readings[0].name == code
    assert finding.readings[0].fix == load_device_errors()[code].fix


@pytest.mark.parametrize("code", ["ca.missing", "flash.no-answer", "board.silent", "file.missing"])
def test_a_code_of_the_host_is_told_with_the_words_of_its_place(code: str) -> None:
    (finding,) = explain(code).findings
    (reading,) = finding.readings
    assert reading.name == code and len(reading.words.split()) > 3 and reading.fix
    assert as_text(explain(code)).endswith(f"next   {reading.fix}")


@pytest.mark.parametrize(
    "code", ["tap.died", "tap.port-taken", "tap.loop", "doctor.too-long", "doctor.nothing-to-read"]
)
def test_codes_of_the_doctor_and_its_tap_are_told_too(code: str) -> None:
    (finding,) = explain(code).findings
    (reading,) = finding.readings
    assert reading.name == code and len(reading.words.split()) > 3


@pytest.mark.parametrize("code", sorted(load_catalogue()))
def test_a_code_of_the_catalogue_shows_all_that_is_known_of_it(code: str) -> None:
    cause = load_catalogue()[code]
    text = as_text(explain(code))
    for part in (
        cause.cause,
        cause.mbedtls,
        cause.axtls,
        cause.broker,
        cause.tell_apart,
        cause.fix,
    ):
        assert part in text


def test_a_pasted_number_that_means_several_things_is_told_with_each() -> None:
    text = as_text(explain("-2"))
    assert "one of 6 things" in text
    for source in ("ArduinoMqttClient", "PubSubClient", "getaddrinfo", "axTLS", "Paho"):
        assert source in text


def test_who_sent_an_alert_decides_whose_certificate_it_is() -> None:
    line = "error:0A000418:SSL routines::tlsv1 alert unknown ca"
    assert causes(f"1700000000: OpenSSL Error[0]: {line}")[0] == "x509.wrong-anchor"
    assert causes("got an alert message, type: [2:48]")[0] == "client-certificate.unknown-ca"
    assert causes("send alert level=2 message=48")[0] == "x509.wrong-anchor"
    assert causes("alert 48 unknown_ca from the broker")[0] == "client-certificate.unknown-ca"
    assert causes("  broker  alert 48 unknown_ca, fatal")[0] == "client-certificate.unknown-ca"
    assert causes("  board   alert 48 unknown_ca, fatal")[0] == "x509.wrong-anchor"
    assert causes("chain ends; alert 48 sent, unknown_ca")[0] == "x509.wrong-anchor"


BOTH_LOGS = """\
2026-11-21T17:40:40+0000: New connection from 10.0.0.7:53312 on port 8883.
2026-11-21T17:40:41+0000: OpenSSL Error[0]: error:0A000086:SSL routines::certificate verify failed
2026-11-21T17:40:41+0000: Client <unknown> disconnected: Protocol error.
\x1b[31mE (4711) wifi: nothing of interest 0x40080400\x1b[0m
>>> OSError: 32
SSL alert number 45
"""


def test_lines_that_say_something_are_found_among_others() -> None:
    explanation = explain(BOTH_LOGS)
    assert [one.line for one in explanation.findings] == [2, 3, 5, 6]
    assert explanation.lines == 6


def test_what_several_lines_point_to_comes_first() -> None:
    assert causes(BOTH_LOGS)[0] == "client-certificate.expired"
    assert "of all this together" in as_text(explain(BOTH_LOGS))


def test_measurements_and_words_in_a_log_are_no_errors() -> None:
    with pytest.raises(KeyfobHostError):
        explain("reading\n-2\n48\n104\ninvalid keyword\nstate: internal_error of the sensor\n")
    assert [one.text for one in explain("48\n\n104\n").findings] == ["48", "104"]


def test_the_same_line_many_times_is_told_once_with_their_number() -> None:
    lines = [
        f"{1700000000 + n}: Client s-01 has exceeded timeout, disconnecting." for n in range(9)
    ]
    (finding,) = explain("\n".join(lines)).findings
    assert (finding.line, finding.count) == (1, 9)


@pytest.mark.parametrize(
    "text", ["hello world", "12345678901234567890", "-0x1abc", "0x40080400", "NO_SUCH_CONSTANT",
             "New connection from 127.0.0.1:53312 on port 8883.", "error:0308010C:digital::x"],
)  # fmt: skip
def test_what_is_not_known_is_said_to_be(text: str) -> None:
    with pytest.raises(KeyfobHostError) as refused:
        explain(text)
    assert refused.value.code == "doctor.not-known"
    assert refused.value.status == ExitStatus.NOT_KNOWN
    assert refused.value.fix


@pytest.mark.parametrize("text", ["", " \n\t\r\n", "\x1b[0m"])
def test_nothing_is_not_explained(text: str) -> None:
    with pytest.raises(KeyfobHostError) as refused:
        explain(text)
    assert refused.value.code == "doctor.nothing-given"


def test_too_much_text_is_refused() -> None:
    with pytest.raises(KeyfobHostError) as refused:
        explain("x" * (MAX_CHARS + 1))
    assert refused.value.code == "doctor.too-long"


def test_the_command_takes_text_that_begins_with_a_dash_and_several_words() -> None:
    done = keyfob("doctor", "--explain", "-30592")
    assert done.returncode == 0 and "MBEDTLS_ERR_SSL_FATAL_ALERT_MESSAGE" in done.stdout
    done = keyfob("doctor", "--explain", "OSError:", "-202")
    assert done.returncode == 0 and "EAI_FAIL (-202)" in done.stdout


def test_the_command_reads_lines_from_standard_input() -> None:
    done = keyfob("--json", "doctor", "--explain", "-", stdin=BOTH_LOGS)
    assert done.returncode == 0
    told = json.loads(done.stdout)
    assert told["causes"][0]["code"] == "client-certificate.expired"
    assert told["causes"][0]["fix"] and told["causes"][0]["row"] == 13
    assert [one["line"] for one in told["found"]] == [2, 3, 5, 6]
    assert told["found"][0]["readings"][0]["causes"]


def test_the_command_says_what_it_does_not_know_with_a_status_of_its_own() -> None:
    done = keyfob("--json", "doctor", "--explain", "hello world")
    assert done.returncode == ExitStatus.NOT_KNOWN == 10
    assert json.loads(done.stdout)["error"]["code"] == "doctor.not-known"


def test_a_number_without_the_option_is_no_board_and_the_option_is_told() -> None:
    done = keyfob("doctor", "-30592")
    assert done.returncode == ExitStatus.USAGE and '--explain "-30592"' in done.stderr


def test_a_terminal_is_told_nothing_that_it_would_obey() -> None:
    done = keyfob("doctor", "--explain", "-", stdin="\x1b]0;owned\x07 OSError: 32 \x1b[2J\x00")
    assert done.returncode == 0 and not any(c in done.stdout for c in "\x1b\x07\x00")


ODDITIES = (
    "alert", "-0x", "OSError", "(((", "1", "return code 05", "reason code: 099", "-01234",
    "error:0A000418:::", "SSL alert number 42", "rst:0xff", "MQTTException(1)", "status 0012",
)  # fmt: skip
PIECES = st.sampled_from([*PASTED, *BOTH_LOGS.splitlines(), *ODDITIES])
TEXTS = st.one_of(
    st.text(max_size=400),
    st.binary(max_size=200).map(lambda data: data.decode("utf-8", "replace")),
    st.lists(PIECES, max_size=8).map(" ".join),
    st.lists(PIECES, max_size=8).map("\n".join),
    st.integers(-(10**12), 10**12).map(str),
    st.integers(0, 2**36).map(hex),
)


def answered(text: str) -> Explanation | None:
    try:
        explanation = explain(text)
    except KeyfobHostError as refused:
        assert refused.code in ("doctor.not-known", "doctor.nothing-given", "doctor.too-long")
        assert refused.fix and refused.cause
        return None
    assert explanation.findings and json.dumps(explanation.as_dict())
    shown = as_text(explanation)
    assert shown and all(c.isprintable() or c == "\n" for c in shown)
    return explanation


@settings(max_examples=150, deadline=None)
@given(TEXTS)
def test_any_text_gets_an_answer(text: str) -> None:
    answered(text)


@pytest.mark.slow
@settings(max_examples=8000, deadline=None)
@given(TEXTS)
def test_any_text_at_all_gets_an_answer(text: str) -> None:
    answered(text)


@pytest.mark.parametrize("number", range(-600, 1100, 17))
def test_any_small_number_gets_an_answer_without_a_bare_number(number: int) -> None:
    explanation = answered(str(number))
    for one in explanation.findings if explanation else ():
        for reading in one.readings:
            assert any(c.isalpha() for c in reading.name) and " " in reading.words


@pytest.mark.parametrize(
    "piece",
    [
        "error:",
        "alert ",
        "-0x1",
        "MBEDTLS_ERR_",
        "OSError(",
        "reason",
        "wifi status ",
        "CONNACK",
        "a.",
        "rst:",
        " ",
        "((((",
        "E",
        "1",
    ],
)
def test_long_repetitions_cost_a_reader_little(piece: str) -> None:
    """No reader's time grows faster than the text: ten times a line's bound is soon read."""
    line = piece * (6000 // len(piece))
    for reader in READERS:
        began = time.process_time()
        for _ in reader(line):
            pass
        # Quadratic in 6,000 characters is some ten million steps, exponential never ends.
        assert time.process_time() - began < 5
