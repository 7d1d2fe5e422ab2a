"""The doctor's tables against those who made the numbers: MicroPython, OpenSSL, Python, paho."""

from __future__ import annotations

import ctypes
import ctypes.util
import errno
import json
import re
import shutil
import ssl
import subprocess
import sys
from pathlib import Path

import paho.mqtt.client as paho
import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.reasoncodes import ReasonCode

from keyfob_host.doctor import bare, tls_numbers
from keyfob_host.doctor.catalogue import load_catalogue
from keyfob_host.doctor.meaning import Meaning
from keyfob_host.doctor.numbers import (
    alerts,
    axtls,
    bearssl,
    errnos,
    mbedtls,
    mqtt,
    names,
    openssl,
    resets,
    simplelink,
    wifi,
)
from keyfob_host.doctor.readers import _PHRASES
from keyfob_host.virtual.micropython import _find_program as find_micropython

# A stream whose reads fail with a number of our choice: what mbedTLS makes of that, and what
# MicroPython calls it, comes out of wrap_socket.
_NAMES_ASKED = """
import io, json, tls

class Stream(io.IOBase):
    def __init__(self, number):
        self.number = number
    def write(self, data):
        return len(data)
    def readinto(self, buffer):
        return self.number
    def ioctl(self, request, argument):
        return 0

said = {}
for number in NUMBERS:
    context = tls.SSLContext(tls.PROTOCOL_TLS_CLIENT)
    context.verify_mode = tls.CERT_NONE
    try:
        context.wrap_socket(Stream(number))
    except (OSError, ValueError) as error:
        said[str(number)] = [str(part) for part in error.args]
print(json.dumps(said))
"""
# What the port turns into something else before it is raised (extmod/modtls_mbedtls.c), and
# what makes it or mbedTLS read again, for ever.
_TAKEN = {-0x7F00, -0x3E80, -0x2800, -0x6900, -0x6880, -0x6580}


def micropython_says(tmp_path: Path, numbers: list[int]) -> dict[int, list[str]]:
    program = tmp_path / "names.py"
    program.write_text(_NAMES_ASKED.replace("NUMBERS", str(numbers)))
    done = subprocess.run(
        [str(find_micropython()), str(program)],
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    return {int(number): words for number, words in json.loads(done.stdout).items()}


def test_micropython_calls_mbedtls_errors_by_the_same_names(tmp_path: Path) -> None:
    numbers = [-number for number in mbedtls.HIGH if -number not in _TAKEN]
    said = micropython_says(tmp_path, numbers)
    # Its build leaves some parts of mbedTLS out, and then knows the number only.
    known = {number: words[1] for number, words in said.items() if "UNKNOWN" not in words[1]}
    assert len(known) > 80
    for number, name in known.items():
        assert mbedtls.readings(number)[0].name.startswith(f"{name} ("), number


def test_micropython_calls_sums_of_mbedtls_errors_by_the_same_names(tmp_path: Path) -> None:
    numbers = [-(high + low) for high in (0x2700, 0x4300) for low in mbedtls.LOW]
    for number, words in micropython_says(tmp_path, numbers).items():
        if "UNKNOWN" not in words[1] and len(words[1]) < 79:  # it cuts a text at 79 characters
            (reading,) = mbedtls.readings(number)
            assert reading.name.startswith(words[1].replace("+", " + ") + " ("), number


def test_micropython_and_linux_number_the_systems_errors_so() -> None:
    asked = "import errno, json; print(json.dumps({n: getattr(errno, n) for n in dir(errno)" \
            " if n[0] == 'E'}))"  # fmt: skip
    done = subprocess.run(
        [str(find_micropython()), "-c", asked], capture_output=True, text=True, check=True
    )
    for name, number in json.loads(done.stdout).items():
        assert any(one.name == f"{name} ({number})" for one in errnos.readings(number)), name
    for number, name in errnos.LINUX.items():
        assert getattr(errno, name) == number


def test_the_system_speaks_of_its_errors_with_the_phrases_that_are_known() -> None:
    import os

    for text, name in (
        ("Connection refused", "ECONNREFUSED"), ("Connection reset by peer", "ECONNRESET"),
        ("Broken pipe", "EPIPE"), ("No route to host", "EHOSTUNREACH"),
        ("No space left on device", "ENOSPC"), ("Network is unreachable", "ENETUNREACH"),
    ):  # fmt: skip
        assert os.strerror(getattr(errno, name)) == text
        (phrase,) = [one for one in _PHRASES if one.pattern == text]
        assert phrase.meaning.causes == errnos.by_name(name)[0].causes


@pytest.fixture(scope="module")
def libcrypto() -> ctypes.CDLL:
    crypto, tls = ctypes.util.find_library("crypto"), ctypes.util.find_library("ssl")
    if crypto is None or tls is None:
        pytest.skip("this system has no shared libcrypto and libssl to ask")
    library = ctypes.CDLL(crypto)
    # Loads the SSL library's texts too.
    ctypes.CDLL(tls).OPENSSL_init_ssl(ctypes.c_uint64(0x00200000 | 2), None)
    library.ERR_reason_error_string.restype = ctypes.c_char_p
    library.ERR_reason_error_string.argtypes = [ctypes.c_ulong]
    library.X509_verify_cert_error_string.restype = ctypes.c_char_p
    library.X509_verify_cert_error_string.argtypes = [ctypes.c_long]
    return library


def test_openssl_has_the_same_texts_for_its_reasons(libcrypto: ctypes.CDLL) -> None:
    for number, text in openssl._NUMBERS.items():
        said = libcrypto.ERR_reason_error_string((20 << 23) | number)
        assert said is not None and said.decode() == text, number


def test_openssl_has_the_same_texts_for_refused_certificates(libcrypto: ctypes.CDLL) -> None:
    for number, entry in openssl.VERIFY.items():
        assert libcrypto.X509_verify_cert_error_string(number).decode() == entry[0]


def test_openssl_names_each_alert_as_the_table_does(libcrypto: ctypes.CDLL) -> None:
    for number, name in tls_numbers.ALERTS.items():
        said = libcrypto.ERR_reason_error_string((20 << 23) | (1000 + number))
        if said is not None:
            spoken = [one for one, _, _ in alerts.spelled(said.decode().replace("'", ""))]
            assert spoken == [number], (said, name)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
def test_packed_numbers_are_taken_apart_as_openssl_does() -> None:
    for number in (0x0A000418, 0x0A00010B, 0x0A0000C7, 0x0A000086, 0x0A0000C1):
        done = subprocess.run(
            ["openssl", "errstr", f"{number:08X}"], capture_output=True, text=True, check=True
        )
        text = done.stdout.strip().rpartition(":")[2]
        reason = openssl.unpacked(number)
        assert reason is not None
        readings = bare.openssl_reason(reason, "board")
        spoken = [one for one, _, _ in alerts.spelled(text)]
        assert readings[0].name == text or readings[0].name.startswith(f"alert {spoken[0]},")
    # The same alert in the numbers of 1.1.1, where a function stands between.
    assert openssl.unpacked(0x14094418) == openssl.unpacked(0x0A000418) == 1048
    assert openssl.unpacked(0x0909006C) is None


def test_pythons_alert_names_are_known() -> None:
    described = [one for one in ssl.AlertDescription if "ALERT_DESCRIPTION_" in one.name]
    assert len(described) > 20
    for one in described:
        name = one.name.removeprefix("ALERT_DESCRIPTION_").lower()
        number = alerts.number_of(name.replace("user_cancelled", "user_canceled"))
        assert number == one.value


def test_paho_has_the_same_reason_codes() -> None:
    known = ReasonCode(PacketTypes.CONNACK, "Success").names
    for code, texts in known.items():
        (reading,) = mqtt.reason(code)
        words = {word for text in texts for word in re.findall(r"\w+", text.lower())}
        named = set(re.findall(r"\w+", reading.name.lower())) - {"reason", "code", "0x00"}
        if code >= 0x80:
            shared = {word.rstrip("s") for word in words} & {word.rstrip("s") for word in named}
            assert len(shared) >= len(words) - 1, (code, words, named)
    assert [code for code in range(256) if mqtt.reason(code)] == sorted(known)


def test_paho_has_the_same_return_codes() -> None:
    for code in range(1, 6):
        said = paho.connack_string(code).lower()
        (reading,) = mqtt.returned(code)
        key = ("protocol", "identifier", "unavailable", "password", "not authori")[code - 1]
        assert key in said and key in reading.name
    assert mqtt.returned(6) == []


@pytest.mark.skipif(
    sys.platform != "linux", reason="getaddrinfo's numbers are the C library's own elsewhere"
)
def test_the_c_library_raises_the_same_numbers_for_names() -> None:
    import socket

    assert socket.EAI_NONAME == -2 and socket.EAI_AGAIN == -3
    for number in (socket.EAI_NONAME, socket.EAI_AGAIN):
        assert names.readings(int(number))


def test_a_number_with_several_meanings_is_told_with_each_source() -> None:
    sources = [one.source for one in bare.readings("-2")]
    for system in ("ArduinoMqttClient", "PubSubClient", "ESP8266", "axTLS", "Paho"):
        assert any(system in source for source in sources), system
    assert len(set(sources)) == len(sources)


@pytest.mark.parametrize(
    ("reading", "name"),
    [
        # ssl.h, bearssl_ssl.h, bearssl_x509.h, socket.h, netdb.h, esp_wifi_types_generic.h
        (axtls.readings(-256), "CONN_LOST"),
        (axtls.readings(-267), "INVALID_CERT_HASH_ALG"),
        (axtls.readings(-40), "handshake_failure"),
        (axtls.readings(-514), "NO_TRUSTED_CERT"),
        (bearssl.readings(54), "BR_ERR_X509_EXPIRED"),
        (bearssl.readings(62), "BR_ERR_X509_NOT_TRUSTED"),
        (bearssl.readings(298), "bad_certificate"),
        (bearssl.readings(560), "unknown_ca, sent by the board"),
        (simplelink.readings(-456), "SL_ESECBADCAFILE"),
        (simplelink.readings(-342), "bad_certificate"),
        (names.readings(-202), "EAI_FAIL"),
        (wifi.status(202), "AUTH_FAIL"),
        (wifi.status(-3), "BADAUTH"),
        (wifi.reason(15), "4WAY_HANDSHAKE_TIMEOUT"),
        (resets.rom32(16), "RTCWDT_RTC_RESET"),
        (resets.rom8266(4), "watchdog"),
        (mbedtls.readings(-0x7900), "BAD_HS_CLIENT_HELLO"),
    ],
)
def test_numbers_of_the_makers_headers(reading: list[Meaning], name: str) -> None:
    assert name in reading[0].name


def test_every_cause_that_a_table_names_is_in_the_catalogue() -> None:
    every = [one.meaning for one in _PHRASES]
    for number in range(-0x8000, 1100):
        every += bare.readings(str(number))
    for number in range(256):
        every += mqtt.reason(number) + wifi.reason(number) + resets.rom32(number)
    assert len(every) > 1000
    for reading in every:
        assert set(reading.causes) <= set(load_catalogue()), reading
        assert reading.words and reading.source and not reading.name.lstrip("-").isdigit()
