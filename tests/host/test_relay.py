"""The relay between board and broker, against real sockets."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from collections.abc import Iterator
from itertools import accumulate

import pytest

from keyfob_host.errors import KeyfobHostError
from keyfob_host.relay import Connection, Fault, TcpRelay


class Echo:
    """A server that answers each byte with itself and counts its connections."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = self.listener.getsockname()
        self.accepted = 0
        self.ends: list[str] = []
        self.threads: list[threading.Thread] = []
        self.thread = threading.Thread(target=self._accept, daemon=True)
        self.thread.start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            self.accepted += 1
            one = threading.Thread(target=self._serve, args=(client,), daemon=True)
            self.threads.append(one)
            one.start()

    def _serve(self, client: socket.socket) -> None:
        with client:
            try:
                while data := client.recv(65536):
                    client.sendall(data)
                self.ends.append("end of stream")
            except OSError as error:
                self.ends.append(type(error).__name__)

    def close(self) -> None:
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()


@pytest.fixture
def echo() -> Iterator[Echo]:
    server = Echo()
    yield server
    server.close()


@pytest.fixture
def relay(echo: Echo) -> Iterator[TcpRelay]:
    with TcpRelay(echo.address) as running:
        yield running


@pytest.fixture
def client(relay: TcpRelay) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", relay.port), timeout=5) as sock:
        yield sock


def round_trip(sock: socket.socket, data: bytes) -> bytes:
    sock.sendall(data)
    return receive(sock, len(data))


def receive(sock: socket.socket, count: int) -> bytes:
    got = b""
    while len(got) < count:
        part = sock.recv(count - len(got))
        if not part:
            break
        got += part
    return got


def wait_for(condition, timeout_s: float = 5) -> None:
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end, "the condition never came true"
        time.sleep(0.01)


def test_bytes_pass_both_ways_and_are_counted(relay: TcpRelay, client: socket.socket) -> None:
    payload = bytes(range(256)) * 400
    assert round_trip(client, payload) == payload
    assert relay.bytes_passed("up") == relay.bytes_passed("down") == len(payload)
    assert relay.connections[0].head["up"] == payload[:16384]
    assert relay.live == 1


def test_end_of_stream_is_carried_and_the_connection_ends(
    relay: TcpRelay, client: socket.socket, echo: Echo
) -> None:
    client.sendall(b"last")
    client.shutdown(socket.SHUT_WR)
    assert receive(client, 100) == b"last"
    wait_for(lambda: relay.live == 0)
    assert echo.ends == ["end of stream"]


def test_cut_resets_what_lives_and_lets_the_next_connection_pass(
    relay: TcpRelay, client: socket.socket, echo: Echo
) -> None:
    assert round_trip(client, b"before") == b"before"
    assert relay.cut() == 1
    with pytest.raises(ConnectionResetError):
        client.recv(1)
    wait_for(lambda: echo.ends == ["ConnectionResetError"])
    with socket.create_connection(("127.0.0.1", relay.port), timeout=5) as second:
        assert round_trip(second, b"after") == b"after"


def test_cut_at_a_byte_passes_exactly_the_bytes_before_it(
    relay: TcpRelay, client: socket.socket, echo: Echo
) -> None:
    relay.fail(Fault("cut", "up", at_byte=10))
    assert round_trip(client, b"0123456") == b"0123456"
    client.sendall(b"789abcdef")
    with pytest.raises(ConnectionResetError):
        while client.recv(100):
            pass
    assert relay.connections[0].passed["up"] == 10


def test_cut_takes_effect_on_a_connection_that_is_silent(
    relay: TcpRelay, client: socket.socket
) -> None:
    assert round_trip(client, b"x") == b"x"
    relay.fail(Fault("cut", "down", at_byte=1))
    with pytest.raises(ConnectionResetError):
        client.recv(1)


def test_half_close_ends_one_direction_and_leaves_the_other(
    relay: TcpRelay, client: socket.socket, echo: Echo
) -> None:
    relay.fail(Fault("half-close", "up", at_byte=4))
    client.sendall(b"12345678")
    assert receive(client, 100) == b"1234"
    assert echo.ends == ["end of stream"]


def test_stall_holds_bytes_without_closing_and_clear_lets_them_go(
    relay: TcpRelay, client: socket.socket
) -> None:
    assert round_trip(client, b"one") == b"one"
    relay.fail(Fault("stall", "down"))
    client.sendall(b"two")
    client.settimeout(0.3)
    with pytest.raises(TimeoutError):
        client.recv(1)
    assert relay.live == 1
    relay.clear()
    client.settimeout(5)
    assert receive(client, 3) == b"two"


def test_delay_makes_a_round_trip_take_both_ways_longer(
    relay: TcpRelay, client: socket.socket
) -> None:
    relay.fail(Fault("delay", "both", delay_s=0.15))
    started = time.monotonic()
    assert round_trip(client, b"slow") == b"slow"
    assert 0.3 <= time.monotonic() - started < 2


def test_throttle_passes_the_rate_it_was_given(relay: TcpRelay, client: socket.socket) -> None:
    relay.fail(Fault("throttle", "up", bytes_per_s=10_000))
    started = time.monotonic()
    payload = bytes(5_000)
    assert round_trip(client, payload) == payload
    assert 0.4 <= time.monotonic() - started < 2


def test_split_delivers_everything_in_pieces_of_that_size(
    relay: TcpRelay, client: socket.socket
) -> None:
    relay.fail(Fault("split", "down", at_byte=10, piece_bytes=3))
    client.sendall(bytes(range(20)))
    pieces = [client.recv(100)]
    while sum(map(len, pieces)) < 20:
        pieces.append(client.recv(100))
    assert b"".join(pieces) == bytes(range(20))
    # Who reads late finds two pieces as one, but none ends elsewhere.
    ends = {*accumulate(len(piece) for piece in pieces)}
    assert ends <= {10, 13, 16, 19, 20} and len(ends) > 1


def test_what_a_server_says_before_it_resets_still_arrives() -> None:
    """As a broker refuses a certificate: an alert, then RST, while the board still writes."""
    rounds = 100
    said = b"the last words"

    def refuse(listener: socket.socket) -> None:
        for _ in range(rounds):
            client, _ = listener.accept()
            client.recv(10)
            client.sendall(said)
            client.close()  # with bytes unread: RST, not FIN

    seen = Passed()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = threading.Thread(target=refuse, args=(listener,), daemon=True)
        server.start()
        with TcpRelay(listener.getsockname(), observer=seen) as relay:
            for _ in range(rounds):
                address = ("127.0.0.1", relay.port)
                with (
                    socket.create_connection(address, timeout=5) as sock,
                    contextlib.suppress(OSError),
                ):
                    for _ in range(20):
                        sock.sendall(bytes(3000))
            wait_for(lambda: len(seen.closed_ones) == rounds, timeout_s=20)
        server.join(5)
    assert [bytes(one) for one in seen.down.values()] == [said] * rounds


def test_an_observer_is_told_who_ended_it_and_how(echo: Echo) -> None:
    seen = Passed()
    with TcpRelay(echo.address, observer=seen) as watched:
        with socket.create_connection(("127.0.0.1", watched.port), timeout=5) as sock:
            assert round_trip(sock, b"x") == b"x"
        wait_for(lambda: len(seen.closed_ones) == 1)
        assert seen.ends == [("up", False), ("down", False)]
        with socket.create_connection(("127.0.0.1", watched.port), timeout=5) as sock:
            assert round_trip(sock, b"x") == b"x"
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        wait_for(lambda: len(seen.closed_ones) == 2)
        assert seen.ends[2:] == [("up", True)]


class Passed:
    """An observer that keeps what it is told."""

    def __init__(self) -> None:
        self.down: dict[int, bytearray] = {}
        self.ends: list[tuple[str, bool]] = []
        self.closed_ones: list[Connection] = []

    def opened(self, connection: Connection, peer: str) -> None:
        self.down[id(connection)] = bytearray()

    def refused(self, connection: Connection, error: OSError) -> None:
        raise AssertionError(error)

    def passed(self, connection: Connection, direction: str, data: bytes) -> None:
        if direction == "down":
            self.down[id(connection)] += data

    def ended(self, connection: Connection, direction: str, is_reset: bool) -> None:
        self.ends.append((direction, is_reset))

    def closed(self, connection: Connection) -> None:
        self.closed_ones.append(connection)


def test_nobody_behind_the_relay_resets_the_client(echo: Echo) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        address = closed.getsockname()
    with TcpRelay(address) as relay:
        # Depending on who is faster, the reset meets the connecting or the reading.
        with (
            pytest.raises(ConnectionResetError),
            socket.create_connection(("127.0.0.1", relay.port), timeout=5) as sock,
        ):
            sock.recv(1)
        assert len(relay.connections) == 1
        assert relay.bytes_passed("up") == 0


def test_stop_resets_connections_and_frees_the_port(relay: TcpRelay, client: socket.socket) -> None:
    assert round_trip(client, b"x") == b"x"
    port = relay.port
    relay.stop()
    with pytest.raises(ConnectionResetError):
        client.recv(1)
    with TcpRelay(relay.target, port=port) as again:
        assert again.port == port


def test_a_taken_port_is_told_with_its_address(echo: Echo) -> None:
    with pytest.raises(KeyfobHostError) as refused:
        TcpRelay(("127.0.0.1", 1), port=echo.address[1]).start()
    assert refused.value.code == "relay.cannot-listen"
    assert str(echo.address[1]) in refused.value.evidence


def test_a_fault_without_its_measure_is_refused() -> None:
    with pytest.raises(ValueError, match="delay_s"):
        Fault("delay")
    with pytest.raises(ValueError, match="bytes_per_s"):
        Fault("cut", bytes_per_s=5)
    with pytest.raises(ValueError, match="piece_bytes"):
        Fault("split")
