"""What a person is told of a serial port behind a server that is none, or not for them."""

from __future__ import annotations

import contextlib
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from keyfob_host.errors import ExitStatus, KeyfobHostError
from keyfob_host.ports import check_port
from keyfob_host.remote_ports import in_the_clear, port_name
from keyfob_host.serial_stream import open_stream
from keyfob_host.transport import connect

IAC, DO, WILL = 0xFF, 0xFD, 0xFB
COM_PORT, BINARY = 0x2C, 0x00  # RFC 2217, RFC 856


@contextlib.contextmanager
def server(serve: Callable[[socket.socket], None]) -> Iterator[int]:
    """A server that does ``serve`` with each client; its TCP port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def run() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection, contextlib.suppress(OSError):
                    serve(connection)

        threading.Thread(target=run, daemon=True).start()
        yield listener.getsockname()[1]


def refusal(port: str) -> KeyfobHostError:
    with pytest.raises(KeyfobHostError) as caught:
        open_stream(port).close()
    return caught.value


@pytest.mark.parametrize(
    ("port", "code", "seen"),
    [
        ("rfc2217://127.0.0.1:1", "port.refused", "Connection refused"),
        ("rfc2217://no-such-host.invalid:2217", "port.no-host", "no-such-host.invalid"),
        ("rfc2217://127.0.0.1", "port.bad-address", "no number of a port"),
        ("rfc2217://", "port.bad-address", "no number of a port"),
        ("rfc2217://127.0.0.1:70000", "port.bad-address", "out of range"),
        ("rfc2217://127.0.0.1:1?fast", "port.bad-address", "'fast'"),
    ],
)
def test_address_that_leads_nowhere_is_told_alike_by_console_and_prompt(
    port: str, code: str, seen: str
) -> None:
    first = refusal(port)
    with pytest.raises(KeyfobHostError) as caught:
        connect(port)
    for error in (first, caught.value):
        assert (error.code, seen in error.evidence) == (code, True)
        assert port in error.evidence
    assert first.fix == caught.value.fix


def test_server_that_turns_a_client_away_is_quoted() -> None:
    def serve(one: socket.socket) -> None:
        one.sendall(b"Port already in use\r\n")
        one.shutdown(socket.SHUT_WR)
        while one.recv(100):
            pass

    with server(serve) as port:
        began = time.monotonic()
        error = refusal(f"rfc2217://127.0.0.1:{port}")
    assert error.code == "port.turned-away"
    assert "it said: Port already in use" in error.evidence
    assert f"ss -tnp sport = :{port}" in error.fix
    assert time.monotonic() - began < 5


def test_server_that_still_lets_go_of_the_last_client_is_asked_again() -> None:
    came = []

    def serve(one: socket.socket) -> None:
        came.append(one)
        if len(came) < 3:
            one.sendall(b"Port already in use\r\n")
            return
        one.sendall(bytes((IAC, DO, COM_PORT, IAC, DO, BINARY, IAC, WILL, BINARY)))
        while one.recv(100):
            pass

    with server(serve) as port:
        # Let in at last, it gets as far as the settings, which this server does not know.
        assert refusal(f"rfc2217://127.0.0.1:{port}?timeout=0.3").code == "port.baud-refused"
    assert len(came) == 3


def test_server_that_resets_the_connection_is_no_defect_of_ours() -> None:
    def serve(one: socket.socket) -> None:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    with server(serve) as port:
        assert refusal(f"rfc2217://127.0.0.1:{port}").code == "port.turned-away"


def test_server_of_plain_bytes_is_told_with_the_address_that_works() -> None:
    def serve(one: socket.socket) -> None:
        one.sendall(b"MicroPython v1.29\r\n>>> ")
        while one.recv(100):
            pass

    with server(serve) as port:
        error = refusal(f"rfc2217://127.0.0.1:{port}?timeout=0.3")
    assert error.code == "port.not-rfc2217"
    assert "MicroPython v1.29" in error.evidence
    assert f"--port socket://127.0.0.1:{port}" in error.fix


def test_server_that_never_answers_is_told_apart_from_one_that_is_not_there() -> None:
    with server(lambda one: one.recv(1) and time.sleep(5)) as port:  # type: ignore[func-returns-value]
        error = refusal(f"rfc2217://127.0.0.1:{port}?timeout=0.3")
    assert error.code == "port.silent"
    assert "no answer in 0.3 s" in error.evidence
    assert error.status is ExitStatus.HOST


def test_server_that_does_not_take_the_baud_rate_is_told() -> None:
    def serve(one: socket.socket) -> None:
        one.sendall(bytes((IAC, DO, COM_PORT, IAC, DO, BINARY, IAC, WILL, BINARY)))
        while one.recv(100):  # and never a word about the settings
            pass

    with server(serve) as port:
        error = refusal(f"rfc2217://127.0.0.1:{port}?timeout=0.3")
    assert error.code == "port.baud-refused"
    assert "115200" in error.evidence


def test_program_of_this_machine_that_has_the_port_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        tcp = listener.getsockname()[1]
        url = f"rfc2217://127.0.0.1:{tcp}"
        check_port(url)
        code = f"import socket; s = socket.create_connection(('127.0.0.1', {tcp})); s.recv(1)"
        other = subprocess.Popen([sys.executable, "-c", code])
        try:
            held, _ = listener.accept()
            with held, pytest.raises(KeyfobHostError) as caught:
                check_port(url)
        finally:
            other.kill()
            other.wait()
    assert caught.value.code == "port.busy"
    assert f"(pid {other.pid})" in caught.value.evidence
    assert f"kill {other.pid}" in caught.value.fix


@pytest.mark.parametrize(
    ("port", "name"),
    [
        ("/dev/ttyUSB0", "ttyUSB0"),
        ("rfc2217://shelf:4000?ign_set_control", "shelf:4000"),
        ("socket://127.0.0.1:4000", "127.0.0.1:4000"),
        ("labgrid://board-1", "board-1"),
        ("rfc2217://", "rfc2217"),
    ],
)
def test_board_is_called_by_what_tells_its_port_apart(port: str, name: str) -> None:
    assert port_name(port) == name


@pytest.mark.parametrize(
    ("port", "where"),
    [
        ("/dev/ttyUSB0", None),
        ("rfc2217://127.0.0.1:4000", None),
        ("rfc2217://localhost:4000", None),
        ("socket://[::1]:4000", None),
        ("rfc2217://192.0.2.7:4000", "192.0.2.7:4000"),
        ("socket://shelf:4000", "shelf:4000"),
    ],
)
def test_what_leaves_this_machine_unencrypted_is_known(port: str, where: str | None) -> None:
    assert in_the_clear(port) == where
