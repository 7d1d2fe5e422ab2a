"""The clock of a virtual board, and that its TLS stack goes by it."""

from __future__ import annotations

import datetime
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from certificates import make_ca, make_leaf
from virtual_rig import SerialConsole

from keyfob_host.virtual import VirtualBoard

_2000_S = 946_684_800


@pytest.fixture
def console(virtual_board: VirtualBoard) -> Iterator[SerialConsole]:
    with SerialConsole(virtual_board) as opened:
        yield opened


def test_clock_starts_at_2000_and_counts_from_there(console: SerialConsole) -> None:
    assert console.run("import time; print(time.gmtime(0)[:6])") == b"(2000, 1, 1, 0, 0, 0)\n"
    seconds = int(console.run("print(time.time())"))
    assert 0 <= seconds < 60
    assert int(console.run("time.sleep(1.1); print(time.time())")) > seconds
    year = console.run("import machine; print(machine.RTC().datetime()[0], time.localtime()[0])")
    assert year == b"2000 2000\n"


def test_rtc_sets_the_clock(console: SerialConsole) -> None:
    console.run("import machine; machine.RTC().datetime((2026, 11, 21, 5, 12, 30, 15, 500000))")
    seen = console.run("import time; print(machine.RTC().datetime()[:7], time.gmtime()[:5])")
    assert seen.startswith(b"(2026, 11, 21, 5, 12, 30, ")
    assert seen.endswith(b"(2026, 11, 21, 12, 30)\n")
    same = console.run("print(time.time() - time.mktime((2026, 11, 21, 12, 30, 15, 0, 0)))")
    assert 0 <= int(same) < 60


def test_ticks_do_not_follow_the_clock(console: SerialConsole) -> None:
    jump = (
        "import time, machine; t = time.ticks_ms()\n"
        "machine.RTC().datetime((2030, 1, 1, 0, 0, 0, 0, 0))\n"
        "print(time.ticks_diff(time.ticks_ms(), t))"
    )
    assert 0 <= int(console.run(jump)) < 20_000


def test_reset_keeps_the_clock_and_power_off_does_not(
    virtual_board: VirtualBoard, console: SerialConsole
) -> None:
    console.run("import machine; machine.RTC().datetime((2026, 1, 1, 0, 0, 0, 0, 0))")
    console.send(b"machine.reset()\r")
    console.read_until(b"rst:0xc")
    console.read_until(b">>> ")
    assert console.run("import time; print(time.gmtime()[0])") == b"2026\n"
    virtual_board.power(False)
    virtual_board.power(True)
    console.read_until(b"rst:0x1 ")
    console.read_until(b">>> ")
    assert console.run("import time; print(time.gmtime()[0])") == b"2000\n"


def test_bench_sets_the_clock_wrong(virtual_board: VirtualBoard, console: SerialConsole) -> None:
    wanted = datetime.datetime(2040, 6, 1, tzinfo=datetime.timezone.utc)
    virtual_board.set_clock(wanted.timestamp())
    assert console.run("import time; print(time.gmtime()[:3])") == b"(2040, 6, 1)\n"
    virtual_board.set_clock(None)
    assert console.run("import time; print(time.gmtime()[0])") == b"2000\n"
    assert virtual_board.info()["clock_s"] - _2000_S < 60


def test_mbedtls_judges_certificates_by_the_boards_clock(
    virtual_board: VirtualBoard, console: SerialConsole, tmp_path: Path
) -> None:
    """One certificate, one server; only the board's clock changes."""
    ca = make_ca()
    leaf = make_leaf(ca, "tls.keyfob.test", ("tls.keyfob.test",))
    (tmp_path / "server.pem").write_bytes(leaf.chain_pem() + leaf.key_pem())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(tmp_path / "server.pem")
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                raw = listener.accept()[0]
            except OSError:
                return
            try:
                with context.wrap_socket(raw, server_side=True) as tls:
                    tls.sendall(b"verified")
            except OSError:
                raw.close()

    threading.Thread(target=serve, daemon=True).start()
    code = f"""
import network, time, socket, ssl
w = network.WLAN(network.STA_IF); w.active(True)
w.connect('keyfob-bench', 'keyfob-bench-password')
while not w.isconnected(): time.sleep_ms(5)
def go():
    c = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    c.verify_mode = ssl.CERT_REQUIRED
    c.load_verify_locations(cadata=bytes.fromhex({ca.der.hex()!r}))
    s = socket.socket()
    s.connect(socket.getaddrinfo('tls.keyfob.test', {listener.getsockname()[1]})[0][-1])
    try:
        print(c.wrap_socket(s, server_hostname='tls.keyfob.test').read(8))
    except Exception as e:
        print(e)
    s.close()
"""
    try:
        console.run(code)
        assert b"starts in the future" in console.run("go()")
        virtual_board.set_clock(time.time())
        assert console.run("go()") == b"b'verified'\n"
        virtual_board.set_clock(time.time() + 400 * 86400)
        assert b"validity has expired" in console.run("go()")
        now = time.gmtime()
        fields = (now.tm_year, now.tm_mon, now.tm_mday, 0, now.tm_hour, now.tm_min, 0, 0)
        console.run(f"import machine; machine.RTC().datetime({fields})")
        assert console.run("go()") == b"b'verified'\n"
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
