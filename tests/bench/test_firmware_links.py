"""The firmware's way to mosquitto and back to it, under the unix MicroPython (mbedTLS).

What a board says when it works, when the link or the broker fails, and when something
else answers at the broker's port. No virtual board: one process, a LittleFS in memory.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from certificates import DAY, Pair, make_ca, make_leaf
from firmware_bench import DEVICE_ID, Board, Mosquitto, mutual_tls

from keyfob_host.ntp import NtpServer
from keyfob_host.relay import Fault, TcpRelay

pytestmark = [
    pytest.mark.mosquitto,
    pytest.mark.skipif(shutil.which("mosquitto") is None, reason="mosquitto is not installed"),
]
CA = make_ca()


@pytest.fixture(scope="module")
def ntp() -> Iterator[NtpServer]:
    with NtpServer() as server:
        yield server


def server_cert(**how: object) -> Pair:
    return make_leaf(CA, "broker", ("localhost", "127.0.0.1"), **how)


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    config = mutual_tls(tmp_path / "broker", server_cert(), CA)
    with Mosquitto(tmp_path / "broker", config) as running:
        yield running


@pytest.fixture
def board(tmp_path: Path, broker: Mosquitto, ntp: NtpServer) -> Iterator[Board]:
    with Board(tmp_path / "board") as made:
        made.settle("localhost", broker.port, ntp.port)
        made.provision([CA])
        yield made


def test_readings_arrive_with_one_connection(board: Board, broker: Mosquitto) -> None:
    board.power_on()
    for _ in range(3):
        assert board.wait_for("publish", "error")["topic"] == f"devices/{DEVICE_ID}/reading"
    assert broker.log().count("New client connected") == 1


def test_events_come_in_the_order_of_the_work(board: Board) -> None:
    board.power_on()
    board.wait_for("publish")
    names = [line.split('"ev":"')[1].split('"')[0] for line in board.console]
    want = [
        "boot",
        "clock.kept",
        "wifi.up",
        "clock.set",
        "store.loaded",
        "tls.up",
        "mqtt.up",
        "publish",
    ]
    assert names == want
    assert board.events("tls.up")[0]["version"] == "TLSv1.2"


def test_keep_alive_holds_a_connection_that_publishes_nothing(
    board: Board, broker: Mosquitto
) -> None:
    board.edit("apps/sensor_core.py", '"period_s": settings["period_s"]', '"period_s": 3600')
    board.power_on()
    board.wait_for("publish")
    time.sleep(9)  # keep alive is 5 s; the broker gives up after 7.5 s
    assert "PINGREQ" in broker.log()
    assert "exceeded timeout" not in broker.log()
    assert not board.events("mqtt.down")


def test_a_dead_link_is_noticed_by_the_missing_pingresp(
    board: Board, broker: Mosquitto, ntp: NtpServer
) -> None:
    with TcpRelay(("127.0.0.1", broker.port)) as relay:
        board.settle("localhost", relay.port, ntp.port)
        board.edit("apps/sensor_core.py", '"period_s": settings["period_s"]', '"period_s": 3600')
        board.power_on()
        board.wait_for("publish")
        relay.fail(Fault("stall"))
        assert board.wait_for("mqtt.down")["code"] == "mqtt.no-pingresp"
        relay.clear()
        board.wait_for("mqtt.up")


def test_a_publish_that_was_never_acknowledged_is_sent_again(
    board: Board, broker: Mosquitto, ntp: NtpServer
) -> None:
    with TcpRelay(("127.0.0.1", broker.port)) as relay:
        board.settle("localhost", relay.port, ntp.port, keepalive_s=60)
        board.edit(
            "keyfob/mqtt/session.py",
            "_ACK_LIMIT_MS = const(20_000)",
            "_ACK_LIMIT_MS = const(1_000)",
        )
        board.power_on()
        board.wait_for("publish")
        relay.fail(Fault("stall"))
        assert board.wait_for("mqtt.down")["code"] == "mqtt.no-puback"
        relay.clear()
        board.wait_for("mqtt.up")
        board.wait_for("publish")
    assert "(d1, q1" in broker.log()  # DUP


def test_the_board_is_back_after_the_broker_restarted(
    board: Board, broker: Mosquitto, tmp_path: Path
) -> None:
    board.power_on()
    board.wait_for("publish")
    broker.stop()
    assert board.wait_for("mqtt.down")["code"] in ("tls.closed", "tls.reset")
    assert board.wait_for("error")["retry"] == "wait"
    config = (tmp_path / "broker/mosquitto.conf").read_text().splitlines()
    with Mosquitto(tmp_path / "again", config[3:], port=broker.port):
        assert board.wait_for("mqtt.up")["session_present"] is False
        board.wait_for("publish")


def test_dates_that_do_not_fit_make_the_board_ask_for_the_time_again(
    tmp_path: Path, ntp: NtpServer
) -> None:
    config = mutual_tls(tmp_path / "broker", server_cert(before=-3 * DAY, after=-DAY), CA)
    with Mosquitto(tmp_path / "broker", config) as broker, Board(tmp_path / "board") as board:
        board.edit("keyfob/backoff.py", "_STOP_MS = const(120_000)", "_STOP_MS = const(200)")
        board.settle("localhost", broker.port, ntp.port)
        board.provision([CA])
        board.power_on()
        for _ in range(3):
            assert board.wait_for("error")["code"] == "x509.expired"
        assert len(board.events("clock.set")) == 3


def test_a_clock_that_was_set_outlives_its_server(board: Board, broker: Mosquitto) -> None:
    limit = "_ASK_EVERY_S = const(86_400)"
    board.edit("keyfob/clock.py", limit, "_ASK_EVERY_S = const(0)")
    board.edit(
        "keyfob/time_servers.py", "_REPLY_LIMIT_MS = const(3_000)", "_REPLY_LIMIT_MS = const(100)"
    )
    with NtpServer() as own_ntp, TcpRelay(("127.0.0.1", broker.port)) as relay:
        board.settle("localhost", relay.port, own_ntp.port)
        board.power_on()
        board.wait_for("publish")
        own_ntp.mode = "silent"
        relay.fail(Fault("stall"))
        board.wait_for("mqtt.down")
        relay.clear()
        board.wait_for("mqtt.up")
    assert "clock.no-answer" in [event["code"] for event in board.events("error")]


def test_nothing_listening_is_refused(board: Board, broker: Mosquitto) -> None:
    broker.stop()
    assert board.outcome()[0] == "tls.refused"


def test_a_name_that_does_not_resolve_is_named(board: Board, ntp: NtpServer) -> None:
    board.settle("nowhere.invalid", 8883, ntp.port)
    code, detail = board.outcome()
    assert code == "tls.name-not-found"
    assert "nowhere.invalid" in detail


def test_a_plain_mqtt_port_is_told_from_a_tls_port(
    board: Board, ntp: NtpServer, tmp_path: Path
) -> None:
    with Mosquitto(tmp_path / "plain", ["allow_anonymous true"]) as plain:
        board.settle("localhost", plain.port, ntp.port)
        assert board.outcome()[0] == "tls.no-answer"


def test_a_port_that_speaks_something_else_is_not_tls(board: Board, ntp: NtpServer) -> None:
    with Peer(b"HTTP/1.1 400 Bad Request\r\n\r\n") as peer:
        board.settle("localhost", peer.port, ntp.port)
        assert board.outcome()[0] == "tls.not-tls"


def test_an_alert_without_a_code_of_its_own_is_told_by_number(board: Board, ntp: NtpServer) -> None:
    with Peer(bytes((21, 3, 3, 0, 2, 2, 112))) as peer:
        board.settle("localhost", peer.port, ntp.port)
        assert board.outcome() == ("tls.alert", "alert 112 from the broker")


def test_an_alert_46_is_certificate_unknown(board: Board, ntp: NtpServer) -> None:
    with Peer(bytes((21, 3, 3, 0, 2, 2, 46))) as peer:
        board.settle("localhost", peer.port, ntp.port)
        assert board.outcome()[0] == "tls.alert-certificate-unknown"


def test_a_broker_that_never_answers_connect_is_told(
    board: Board, ntp: NtpServer, tmp_path: Path
) -> None:
    limit = "_CONNACK_LIMIT_MS = const(15_000)"
    board.edit("keyfob/connection.py", limit, "_CONNACK_LIMIT_MS = const(300)")
    with Peer(b"", tls_from=tmp_path / "broker") as peer:
        board.settle("localhost", peer.port, ntp.port)
        assert board.outcome() == ("mqtt.no-connack", "300 ms")


def test_a_key_that_is_no_key_is_told(board: Board) -> None:
    board.provision([CA], key=b"no key")
    assert board.outcome() == ("tls.bad-key", "key.der: invalid key")


LIMITS = {
    "mbedtls": ("keyfob/tls/handshake.py", "_HANDSHAKE_LIMIT_MS = const(30_000)"),
    "keyfob": ("keyfob/tls/engine_stream.py", "_HANDSHAKE_LIMIT_MS = const(120_000)"),
}
SILENCES = {
    "silent": Fault("stall"),
    "hears-nothing": Fault("stall", "up"),
    "silent-half-way": Fault("stall", "down", at_byte=500),
    "a-byte-a-second": Fault("throttle", bytes_per_s=1),
}


def attempt_ms(board: Board) -> int:
    """How long the attempt to connect took, by the board's own clock."""
    return board.events("error")[0]["t"] - board.events("store.loaded")[0]["t"]


def test_a_machine_that_does_not_answer_ends_by_time_limit(board: Board, ntp: NtpServer) -> None:
    limit = "_CONNECT_LIMIT_MS = const(10_000)"
    board.edit("keyfob/tcp.py", limit, "_CONNECT_LIMIT_MS = const(300)")
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        port = full.getsockname()[1]
        # A full queue of connections that nobody accepts: Linux drops the next SYN.
        waiting = [socket.socket() for _ in range(4)]
        for connection in waiting:
            connection.setblocking(False)
            connection.connect_ex(("127.0.0.1", port))
        board.settle("localhost", port, ntp.port)
        code, detail = board.outcome()
        for connection in waiting:
            connection.close()
    assert (code, detail) == ("tls.connect-timeout", f"connecting to localhost:{port}: 300 ms")
    assert attempt_ms(board) <= 300 + 1_000


@pytest.mark.parametrize("how", SILENCES)
@pytest.mark.parametrize("engine", LIMITS)
def test_a_handshake_ends_by_time_limit_whatever_the_peer_does(
    board: Board, broker: Mosquitto, ntp: NtpServer, engine: str, how: str
) -> None:
    module, limit = LIMITS[engine]
    board.edit(module, limit, "_HANDSHAKE_LIMIT_MS = const(1_000)")
    with TcpRelay(("127.0.0.1", broker.port)) as relay:
        relay.fail(SILENCES[how])
        board.settle("localhost", relay.port, ntp.port)
        settings = json.loads((board.folder / "keyfob.json").read_text())
        board.write_settings({**settings, "tls": {"engine": engine}})
        code, detail = board.outcome()
    assert code == "tls.handshake-timeout"
    heard = {"silent": 0, "hears-nothing": 0, "silent-half-way": 500}
    assert how not in heard or detail == f"{heard[how]} bytes from the broker in 1000 ms"
    assert 1_000 <= attempt_ms(board) <= 1_000 + 1_000


@pytest.mark.parametrize("engine", LIMITS)
def test_warnings_without_end_hold_up_no_handshake_and_no_task(
    board: Board, ntp: NtpServer, engine: str
) -> None:
    """mbedTLS reads on by itself as long as there are records that say nothing."""
    module, limit = LIMITS[engine]
    board.edit(module, limit, "_HANDSHAKE_LIMIT_MS = const(1_000)")
    with Peer(bytes((21, 3, 3, 0, 2, 1, 112)) * 4_000, is_endless=True) as peer:
        board.settle("localhost", peer.port, ntp.port)
        settings = json.loads((board.folder / "keyfob.json").read_text())
        board.write_settings({**settings, "tls": {"engine": engine}})
        code, _ = board.outcome()
    assert code == {"mbedtls": "tls.handshake-timeout", "keyfob": "tls.flood"}[engine]
    assert attempt_ms(board) <= 1_000 + 1_000


def test_a_record_that_makes_no_sense_is_a_failure_with_its_number(
    board: Board, ntp: NtpServer
) -> None:
    with Peer(bytes((22, 3, 3, 0, 4, 14, 0, 0, 0))) as peer:  # ServerHelloDone first
        board.settle("localhost", peer.port, ntp.port)
        code, detail = board.outcome()
    assert code == "tls.failed"
    assert "handshake: -" in detail


def test_ctrl_c_leaves_nothing_but_keyboard_interrupt(board: Board) -> None:
    board.power_on()
    board.wait_for("publish")
    assert board.interrupt() == 130
    assert board.console[-1].strip() == "KeyboardInterrupt:"


class Peer:
    """A TCP listener that reads what comes and answers each connection with some bytes."""

    def __init__(
        self, answer: bytes, *, tls_from: Path | None = None, is_endless: bool = False
    ) -> None:
        """``tls_from``: a broker's folder; then it ends the handshake and says nothing.
        ``is_endless``: it says ``answer`` again and again."""
        self._answer = answer
        self._is_endless = is_endless
        self._tls = None
        if tls_from:
            self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._tls.load_cert_chain(tls_from / "chain.pem", tls_from / "key.pem")
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._open: list[socket.socket] = []
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            if self._tls:
                self._open.append(self._tls.wrap_socket(connection, server_side=True))
                continue
            connection.recv(4096)
            self._open.append(connection)
            with contextlib.suppress(OSError):  # it hung up
                connection.sendall(self._answer)
                while self._is_endless:
                    connection.sendall(self._answer)
                connection.shutdown(socket.SHUT_WR)

    def __enter__(self) -> Peer:
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()
        for connection in self._open:
            connection.close()
