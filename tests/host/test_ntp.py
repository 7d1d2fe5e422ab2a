"""The time server, seen by an independent client and by the packet's bytes."""

from __future__ import annotations

import os
import socket
import struct
import time
from collections.abc import Callable

import ntplib
import pytest

from keyfob_host.errors import KeyfobHostError
from keyfob_host.ntp import Mode, NtpServer, answer, ntp_timestamp, query, unix_time

# RFC 5905 figure 4: Unix date, seconds of the NTP era.
DATES = [
    (0, 2_208_988_800),  # 1970-01-01, first day UNIX
    (63_072_000, 2_272_060_800),  # 1972-01-01, first day UTC
    (946_598_400, 3_155_587_200),  # 1999-12-31, last day of the 20th century
    (2_086_041_600, 63_104),  # 2036-02-08, first day of era 1
]
COOKIE = bytes.fromhex("0123456789abcdef")
REQUEST = bytes([0x23]) + bytes(39) + COOKIE  # version 4, mode 3


def raw(port: int, request: bytes = REQUEST, *, timeout_s: float = 2.0) -> bytes | None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(timeout_s)
        client.connect(("127.0.0.1", port))
        client.send(request)
        try:
            return client.recv(1024)
        except TimeoutError:
            return None


def test_an_independent_client_takes_the_time() -> None:
    with NtpServer() as server:
        for version in (2, 3, 4):
            got = ntplib.NTPClient().request("127.0.0.1", port=server.port, version=version)
            assert abs(got.offset) < 0.05
            assert (got.mode, got.leap, got.stratum, got.version) == (4, 0, 1, version)
            assert ntplib.ref_id_to_text(got.ref_id, got.stratum).startswith("uncalibrated local")
        assert server.requests == 3


def test_an_independent_client_is_lied_to_by_exactly_the_offset() -> None:
    with NtpServer(offset_s=-86_400.5) as server:
        got = ntplib.NTPClient().request("127.0.0.1", port=server.port, version=4)
        assert got.offset == pytest.approx(-86_400.5, abs=0.05)
        server.offset_s = 3_600
        got = ntplib.NTPClient().request("127.0.0.1", port=server.port, version=4)
        assert got.offset == pytest.approx(3_600, abs=0.05)


@pytest.mark.parametrize(("unix_s", "ntp_s"), DATES)
def test_dates_of_rfc_5905_figure_4(unix_s: int, ntp_s: int) -> None:
    assert struct.unpack("!II", ntp_timestamp(unix_s)) == (ntp_s, 0)
    assert unix_time(struct.pack("!II", ntp_s, 0), unix_s + 10**9) == unix_s


def test_fractions_are_binary() -> None:
    assert ntp_timestamp(0.5) == bytes.fromhex("83aa7e8080000000")
    assert ntp_timestamp(-0.25) == bytes.fromhex("83aa7e7fc0000000")


def test_era_1_is_served_across_the_turn_of_2036() -> None:
    turn = 2**32 - 2_208_988_800  # 2036-02-07 06:28:16 UTC
    for now, seconds in ((turn - 1, 2**32 - 1), (turn, 0), (turn + 5, 5)):
        with NtpServer(clock=lambda now=now: float(now)) as server:  # type: ignore[misc]
            reply = raw(server.port)
        assert reply is not None
        assert struct.unpack("!I", reply[40:44])[0] == seconds
        assert unix_time(reply[40:48], now) == now


def test_the_answer_is_laid_out_as_rfc_5905_figure_8() -> None:
    before = time.time()
    with NtpServer() as server:
        reply = raw(server.port)
    assert reply is not None and len(reply) == 48
    assert reply[0] == 0x24  # leap 0, version 4, mode 4
    assert reply[1] == 1 and reply[12:16] == b"LOCL"
    assert reply[24:32] == COOKIE
    receive, transmit = (unix_time(reply[at : at + 8], before) for at in (32, 40))
    assert before - 0.01 <= receive <= transmit <= time.time() + 0.01
    assert unix_time(reply[16:24], before) < receive


WRONG: dict[Mode, Callable[[bytes], bool]] = {
    Mode.KISS_OF_DEATH: lambda r: r[0] >> 6 == 3 and r[1] == 0 and r[12:16] == b"DENY",
    Mode.KISS_RATE: lambda r: r[0] >> 6 == 3 and r[1] == 0 and r[12:16] == b"RATE",
    Mode.UNSYNCHRONIZED: lambda r: r[0] >> 6 == 3 and r[1] == 1,
    Mode.STRATUM_0: lambda r: r[0] >> 6 == 0 and r[1] == 0 and r[12:16] == bytes(4),
    Mode.STRATUM_16: lambda r: r[1] == 16,
    Mode.WRONG_ORIGINATE: lambda r: r[24:32] == bytes.fromhex("fedcba9876543210"),
    Mode.WRONG_MODE: lambda r: r[0] & 7 == 5,
    Mode.WRONG_VERSION: lambda r: r[0] >> 3 & 7 == 7,
    Mode.ZERO_TRANSMIT: lambda r: r[40:48] == bytes(8),
    Mode.TRUNCATED: lambda r: len(r) == 47,
    Mode.GARBAGE: lambda r: r == b"\xff" * 48,
}


def test_every_wrong_way_is_listed_here() -> None:
    assert set(WRONG) | {Mode.OK, Mode.SILENT} == set(Mode)


@pytest.mark.parametrize("mode", WRONG, ids=lambda mode: mode.value)
def test_a_wrong_answer_is_wrong_in_its_own_way_only(mode: Mode) -> None:
    with NtpServer(mode=mode.value) as server:
        reply = raw(server.port)
        assert reply is not None and WRONG[mode](reply)
        others = {one for one, is_that in WRONG.items() if one is not mode and is_that(reply)}
        if mode is not Mode.GARBAGE:  # which is wrong in every way
            assert others == set()
        server.mode = Mode.OK
        good = raw(server.port)
        assert good is not None and not any(is_that(good) for is_that in WRONG.values())


def test_silence_is_counted() -> None:
    with NtpServer(mode="silent") as server:
        assert raw(server.port, timeout_s=0.3) is None
        assert server.requests == 1
    with pytest.raises(ValueError, match="rude"):
        NtpServer(mode="rude")


@pytest.mark.parametrize(
    "request_bytes",
    [b"", b"\x23", REQUEST[:47], b"\x24" + REQUEST[1:], b"\x25" + REQUEST[1:],
     b"\x03" + REQUEST[1:], b"\x3b" + REQUEST[1:], bytes(48)],
    ids=["empty", "one byte", "47 bytes", "mode 4", "mode 5", "version 0", "version 7", "zeros"],
)  # fmt: skip
def test_what_is_no_request_gets_no_answer(request_bytes: bytes) -> None:
    assert answer(request_bytes, Mode.OK, 1.8e9, 1.8e9) is None


def test_a_request_with_extension_fields_is_answered() -> None:
    reply = answer(REQUEST + bytes(20), Mode.OK, 1.8e9, 1.8e9)
    assert reply is not None and len(reply) == 48


def test_a_client_that_went_away_does_not_stop_the_server() -> None:
    with NtpServer() as server:
        for _ in range(5):
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
                client.sendto(REQUEST, ("127.0.0.1", server.port))
        assert raw(server.port) is not None


def test_stop_frees_the_port_and_start_takes_it_again() -> None:
    server = NtpServer().start()
    port = server.port
    server.stop()
    server.stop()
    assert raw_refused(port)
    server.start()
    assert server.port == port
    assert abs(query("127.0.0.1", port).offset_s) < 0.05
    server.stop()


def raw_refused(port: int) -> bool:
    with pytest.raises(KeyfobHostError) as refused:
        query("127.0.0.1", port, timeout_s=0.3)
    return refused.value.code == "ntp.no-answer"


def test_a_taken_port_is_told_with_its_holder() -> None:
    with NtpServer() as holder, pytest.raises(KeyfobHostError) as refused:
        NtpServer(port=holder.port).start()
    assert refused.value.code == "ntp.port-taken"
    assert f"pid {os.getpid()} (" in refused.value.evidence


def test_an_address_of_another_machine_is_told() -> None:
    with pytest.raises(KeyfobHostError) as refused:
        NtpServer("192.0.2.1").start()
    assert refused.value.code == "ntp.bad-address"


def test_query_reports_and_does_not_judge() -> None:
    with NtpServer(mode="kiss-of-death", offset_s=7) as server:
        got = query("127.0.0.1", server.port)
        assert (got.leap, got.stratum, got.reference_id) == (3, 0, b"DENY")
        assert got.offset_s == pytest.approx(7, abs=0.05)
        server.mode = Mode.TRUNCATED
        with pytest.raises(KeyfobHostError) as refused:
            query("127.0.0.1", server.port)
        assert "47 bytes" in refused.value.evidence
