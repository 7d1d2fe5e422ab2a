"""Wi-Fi, names, connections and their faults, as a program on a virtual board sees them."""

from __future__ import annotations

import asyncio
import errno
import socket
import threading
from collections.abc import Iterator

import pytest
from virtual_rig import WAIT_S, SerialConsole, wait_until

from keyfob_host.boards import load_kind
from keyfob_host.virtual import VirtualBoard
from keyfob_host.virtual.chips import chip_of
from keyfob_host.virtual.link import TcpTarget
from keyfob_host.virtual.network import Network

JOIN = """
import network, time, socket
w = network.WLAN(network.STA_IF)
w.active(True)
w.connect({ssid!r}, {password!r})
while w.status() == network.STAT_CONNECTING: time.sleep_ms(5)
"""
RIGHT = JOIN.format(ssid="keyfob-bench", password="keyfob-bench-password")
CONNECT = """
s = socket.socket()
s.connect(socket.getaddrinfo({host!r}, {port})[0][-1])
"""


@pytest.fixture
def console(virtual_board: VirtualBoard) -> Iterator[SerialConsole]:
    with SerialConsole(virtual_board) as opened:
        yield opened


class Echo:
    """A TCP server that sends back what it gets, and says how each connection ended."""

    def __init__(self, port: int = 0) -> None:
        self.ends: list[str] = []
        self._listener = socket.create_server(("127.0.0.1", port))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def __enter__(self) -> Echo:
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _serve(self) -> None:
        while True:
            try:
                connection = self._listener.accept()[0]
            except OSError:
                return
            threading.Thread(target=self._echo, args=(connection,), daemon=True).start()

    def _echo(self, connection: socket.socket) -> None:
        with connection:
            try:
                while data := connection.recv(4096):
                    connection.sendall(data)
                self.ends.append("closed")
            except OSError:
                self.ends.append("reset")


@pytest.fixture
def echo() -> Iterator[Echo]:
    with Echo() as server:
        yield server


def _connect(console: SerialConsole, port: int, host: str = "echo.keyfob.test") -> None:
    console.run(RIGHT + CONNECT.format(host=host, port=port))


def test_board_joins_the_benchs_access_point(console: SerialConsole) -> None:
    before = "import network; w = network.WLAN(network.STA_IF); print(w.active(), w.isconnected())"
    assert console.run(before) == b"False False\n"
    assert console.run(RIGHT + "print(w.isconnected(), w.status())") == b"True 1010\n"
    assert console.run("print(w.ifconfig()[0], w.config('ssid'))") == b"192.168.4.2 keyfob-bench\n"
    assert console.run("print(w.scan()[0][0])") == b"b'keyfob-bench'\n"


def test_station_address_is_the_one_that_esptool_reads(
    virtual_board: VirtualBoard, console: SerialConsole
) -> None:
    code = "import network, machine; print(network.WLAN(0).config('mac').hex(), "
    seen = console.run(code + "machine.unique_id().hex())").split()
    assert seen == [virtual_board.info()["mac"].encode()] * 2


@pytest.mark.parametrize(
    ("ssid", "password", "status"),
    [("keyfob-bench", "wrong", "STAT_WRONG_PASSWORD"), ("elsewhere", "any", "STAT_NO_AP_FOUND")],
)
def test_join_fails_as_on_a_board(
    console: SerialConsole, ssid: str, password: str, status: str
) -> None:
    code = JOIN.format(ssid=ssid, password=password)
    assert console.run(f"{code}\nprint(w.status() == network.{status})") == b"True\n"


def test_connect_without_activating_is_refused(console: SerialConsole) -> None:
    code = "import network\ntry: network.WLAN(0).connect('a', 'b')\nexcept OSError as e: print(e)"
    assert console.run(code) == b"Wifi Not Started\n"


@pytest.mark.parametrize("host", ["echo.keyfob.test", "127.0.0.1", "localhost"])
def test_bytes_pass_both_ways(console: SerialConsole, echo: Echo, host: str) -> None:
    _connect(console, echo.port, host)
    assert console.run("s.send(b'there'); print(s.recv(10)); s.close()") == b"b'there'\n"
    wait_until(lambda: echo.ends == ["closed"])


def test_names_do_not_resolve_without_wifi(console: SerialConsole) -> None:
    code = (
        "import socket\ntry: socket.getaddrinfo('a.keyfob.test', 1)\nexcept OSError as e: print(e)"
    )
    assert console.run(code) == b"-202\n"


def test_unknown_name_does_not_resolve(console: SerialConsole) -> None:
    code = "try: socket.getaddrinfo('no.such.name.invalid', 1)\nexcept OSError as e: print(e)"
    assert console.run(RIGHT + code) == b"-202\n"


def test_refused_connection_is_seen_as_refused_and_later_accepted(console: SerialConsole) -> None:
    with Echo() as server:
        port = server.port
    code = (
        f"a = socket.getaddrinfo('echo.keyfob.test', {port})[0][-1]\n"
        "def go():\n    s = socket.socket()\n    try:\n        s.connect(a)\n"
        "        return s\n    except OSError as e:\n        s.close()\n        return e.errno\n"
        "print(go())"
    )
    assert console.run(RIGHT + code) == str(errno.ECONNREFUSED).encode() + b"\n"
    with Echo(port):  # the program keeps the address it once resolved
        again = "while isinstance(go(), int): time.sleep_ms(20)\nprint('in')"
        assert console.run(again) == b"in\n"


def test_datagrams_pass_both_ways(console: SerialConsole) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(WAIT_S)

        def serve() -> None:
            data, address = server.recvfrom(100)
            server.sendto(data[::-1], address)

        threading.Thread(target=serve, daemon=True).start()
        code = (
            "u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
            f"u.sendto(b'abc', socket.getaddrinfo('ntp.keyfob.test', {server.getsockname()[1]})"
            "[0][-1])\nprint(u.recv(10))"
        )
        assert console.run(RIGHT + code) == b"b'cba'\n"


def test_a_port_that_another_program_has_for_datagrams_is_passed_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with socket.socket(type=socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", 0))
        taken = other.getsockname()[1]
        bind = TcpTarget._bind
        ports = [taken]
        monkeypatch.setattr(
            TcpTarget, "_bind", lambda self, port: bind(self, ports.pop() if ports else port)
        )

        async def resolved() -> int:
            chip = chip_of(load_kind("virtual-esp32"))
            network = Network("240ac4000002", chip, None)
            network.status = chip.statuses.got_ip
            found = await network.resolve("broker.keyfob.test", 8883, socket.SOCK_DGRAM)
            network.station_off()
            return int(found["port"])

        assert asyncio.run(resolved()) not in (0, taken)
        assert not ports


def test_wifi_down_cuts_a_live_socket_on_both_sides(
    virtual_board: VirtualBoard, console: SerialConsole, echo: Echo
) -> None:
    _connect(console, echo.port)
    console.run("s.send(b'x'); s.recv(1)")
    virtual_board.wifi(False)
    code = "try:\n    s.send(b'y'); print(s.recv(1))\nexcept OSError as e: print(e.errno)"
    assert console.run(code) == str(errno.ECONNRESET).encode() + b"\n"
    wait_until(lambda: echo.ends == ["reset"])
    assert console.run("print(w.isconnected(), w.status())") == b"False 200\n"
    refused = (
        f"try: socket.getaddrinfo('e.keyfob.test', {echo.port})\nexcept OSError as e: print(e)"
    )
    assert console.run(refused) == b"-202\n"
    virtual_board.wifi(True)
    console.run("while not w.isconnected(): time.sleep_ms(5)")
    _connect(console, echo.port)
    assert console.run("s.send(b'again'); print(s.recv(9))") == b"b'again'\n"


@pytest.mark.parametrize("direction", ["up", "down"])
def test_link_is_cut_at_a_byte(
    virtual_board: VirtualBoard, console: SerialConsole, echo: Echo, direction: str
) -> None:
    virtual_board.link("cut", at_byte=5, direction=direction)
    _connect(console, echo.port)
    code = "s.send(b'12345'); print(s.recv(9))\ntry: s.send(b'6'); print(s.recv(9))\n"
    seen = console.run(code + "except OSError as e: print(e.errno)")
    assert seen == b"b'12345'\n" + str(errno.ECONNRESET).encode() + b"\n"
    virtual_board.link(None)
    _connect(console, echo.port)
    assert console.run("s.send(b'1234567'); print(s.recv(9))") == b"b'1234567'\n"


def test_link_half_closes(virtual_board: VirtualBoard, console: SerialConsole, echo: Echo) -> None:
    _connect(console, echo.port)
    virtual_board.link("half-close", at_byte=0, direction="down")
    assert console.run("print(s.recv(9))") == b"b''\n"


def test_link_stalls_and_goes_on(
    virtual_board: VirtualBoard, console: SerialConsole, echo: Echo
) -> None:
    _connect(console, echo.port)
    virtual_board.link("stall")
    code = (
        "s.send(b'z'); s.settimeout(0.2)\ntry: print(s.recv(1))\nexcept OSError as e: print('late')"
    )
    assert console.run(code) == b"late\n"
    virtual_board.link(None)
    assert console.run("s.settimeout(20); print(s.recv(1))") == b"b'z'\n"


def test_link_delays_and_throttles(
    virtual_board: VirtualBoard, console: SerialConsole, echo: Echo
) -> None:
    _connect(console, echo.port)
    timed = "t = time.ticks_ms(); s.send(b'q' * {n}); n = {n}\nwhile n: n -= len(s.recv(n))\n"
    took = "print(time.ticks_diff(time.ticks_ms(), t))"
    virtual_board.link("delay", delay_s=0.15)
    assert int(console.run(timed.format(n=1) + took)) >= 290
    virtual_board.link("throttle", bytes_per_s=1000)
    assert int(console.run(timed.format(n=300) + took)) >= 250


def test_reset_takes_the_station_off_the_network(
    virtual_board: VirtualBoard, console: SerialConsole, echo: Echo
) -> None:
    _connect(console, echo.port)
    virtual_board.reset()
    wait_until(lambda: bool(echo.ends))
    console.read_until(b">>> ")
    asked = "import network; w = network.WLAN(network.STA_IF); print(w.active(), w.isconnected())"
    assert console.run(asked) == b"False False\n"


def test_soft_reset_keeps_the_station_on_the_network(console: SerialConsole, echo: Echo) -> None:
    _connect(console, echo.port)
    console.send(b"\x04")
    console.read_until(b">>> ")
    wait_until(lambda: echo.ends == ["closed"])
    asked = "import network; print(network.WLAN(network.STA_IF).isconnected())"
    assert console.run(asked) == b"True\n"


def test_asyncio_streams_pass_the_link(console: SerialConsole, echo: Echo) -> None:
    code = (
        "import asyncio\nasync def main():\n"
        f"    r, w = await asyncio.open_connection('echo.keyfob.test', {echo.port})\n"
        "    w.write(b'stream'); await w.drain()\n    print(await r.readexactly(6))\n"
        "asyncio.run(main())"
    )
    assert console.run(RIGHT + code) == b"b'stream'\n"
