"""The firmware against mosquitto over real TLS, under the unix MicroPython (mbedTLS).

Each refusal is met with certificates that are wrong in exactly one point, and must
come out as its own code. No virtual board: one process, a LittleFS in memory.
"""

from __future__ import annotations

import shutil
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from certificates import (
    CLIENT_AUTH,
    DAY,
    SERVER_AUTH,
    Pair,
    as_version_1,
    make_ca,
    make_crl,
    make_leaf,
)
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from firmware_bench import DEVICE_ID, Board, Mosquitto, mutual_tls

from keyfob_host.ntp import NtpServer

pytestmark = [
    pytest.mark.mosquitto,
    pytest.mark.skipif(shutil.which("mosquitto") is None, reason="mosquitto is not installed"),
]
NAMED = "use_identity_as_username true"
CA = make_ca()
OTHER = make_ca("other CA")
MID = make_ca("intermediate", issuer=CA)
NO_CA = make_leaf(CA, "not a CA", ("elsewhere.test",))
SHORT = make_ca("path length 0", path_length=0)
SHORT_MID = make_ca("one too many", issuer=SHORT)
SHORT_LOW = make_ca("two too many", issuer=SHORT_MID)


@pytest.fixture(scope="module")
def ntp() -> Iterator[NtpServer]:
    with NtpServer() as server:
        yield server


def server_cert(**how: object) -> Pair:
    return make_leaf(CA, "broker", ("localhost", "127.0.0.1"), **how)


def device_cert(ca: Pair = CA, **how: object) -> Pair:
    return make_leaf(ca, DEVICE_ID, **{"usage": CLIENT_AUTH, **how})


def outcome(
    folder: Path,
    ntp: NtpServer,
    server: Pair,
    *,
    host: str = "localhost",
    anchors: tuple[Pair, ...] = (CA,),
    client_ca: Pair = CA,
    device: Pair | None = None,
    lines: tuple[str, ...] = (),
) -> tuple[str, str]:
    """What the board's first attempt ends with: code and detail."""
    config = mutual_tls(folder / "broker", server, client_ca, *lines)
    with Mosquitto(folder / "broker", config) as broker, Board(folder / "board") as board:
        board.settle(host, broker.port, ntp.port)
        board.provision(list(anchors), device or device_cert(CA))
        return board.outcome()


ACCEPTED: dict[str, Callable[[], dict]] = {
    "dns-san": lambda: {"server": server_cert()},
    "ip-san": lambda: {"server": server_cert(), "host": "127.0.0.1"},
    "only-an-ip-san": lambda: {
        "server": make_leaf(CA, "b", ("127.0.0.1",)), "host": "127.0.0.1",
    },
    "intermediate": lambda: {"server": make_leaf(MID, "b", ("localhost",), below=(MID,))},
    "second-anchor": lambda: {"server": server_cert(), "anchors": (OTHER, CA)},
    "rsa-2048": lambda: {"server": server_cert(key=rsa.generate_private_key(65537, 2048))},
    "rsa-device": lambda: {
        "server": server_cert(), "device": device_cert(key=rsa.generate_private_key(65537, 2048)),
    },
}  # fmt: skip


@pytest.mark.parametrize("case", ACCEPTED)
def test_a_right_broker_is_connected_to(case: str, tmp_path: Path, ntp: NtpServer) -> None:
    assert outcome(tmp_path, ntp, **ACCEPTED[case]()) == ("mqtt.up", "")


REFUSED: dict[str, tuple[str, Callable[[], dict]]] = {
    "wrong-ca": ("x509.untrusted", lambda: {"server": make_leaf(OTHER, "b", ("localhost",))}),
    "self-signed": ("x509.untrusted", lambda: {"server": make_leaf(None, "b", ("localhost",))}),
    "intermediate-not-sent": (
        "x509.untrusted",
        lambda: {"server": make_leaf(MID, "b", ("localhost",))},
    ),
    "issuer-is-no-ca": (
        "x509.untrusted",
        lambda: {"server": make_leaf(NO_CA, "b", ("localhost",), below=(NO_CA,))},
    ),
    "path-too-long": (
        "x509.untrusted",
        lambda: {
            "server": make_leaf(SHORT_LOW, "b", ("localhost",), below=(SHORT_LOW, SHORT_MID)),
            "anchors": (SHORT,),
        },
    ),
    "wrong-name": ("x509.wrong-name", lambda: {"server": make_leaf(CA, "b", ("example.test",))}),
    "wrong-ip": (
        "x509.wrong-name",
        lambda: {"server": make_leaf(CA, "b", ("127.0.0.2",)), "host": "127.0.0.1"},
    ),
    "ip-only-in-common-name": (
        "x509.wrong-name",
        lambda: {"server": make_leaf(CA, "127.0.0.1", ("example.test",)), "host": "127.0.0.1"},
    ),
    "name-only-in-common-name": ("x509.no-san", lambda: {"server": make_leaf(CA, "localhost")}),
    "expired": ("x509.expired", lambda: {"server": server_cert(before=-3 * DAY, after=-DAY)}),
    "not-yet-valid": ("x509.not-yet-valid", lambda: {"server": server_cert(before=DAY)}),
    "client-eku": ("x509.wrong-usage", lambda: {"server": server_cert(usage=CLIENT_AUTH)}),
    "version-1": (
        "x509.not-v3",
        lambda: {"server": as_version_1(make_leaf(CA, "localhost", ("localhost",)), CA)},
    ),
    "version-1-anchor": ("x509.not-v3", lambda: {"server": server_cert(), "anchors": (_ca_v1(),)}),
    "rsa-1024": (
        "x509.weak",
        lambda: {
            "server": server_cert(key=rsa.generate_private_key(65537, 1024)),  # noqa: S505
            "lines": (NAMED, "ciphers DEFAULT@SECLEVEL=0"),
        },
    ),
    "expired-anchor": ("x509.expired", lambda: _below_expired_anchor()),
    "device-of-another-ca": (
        "tls.alert-unknown-ca",
        lambda: {"server": server_cert(), "device": device_cert(OTHER)},
    ),
    "device-expired": (
        "tls.alert-certificate-expired",
        lambda: {"server": server_cert(), "device": device_cert(before=-3 * DAY, after=-DAY)},
    ),
    "device-not-yet-valid": (
        "tls.alert-bad-certificate",
        lambda: {"server": server_cert(), "device": device_cert(before=DAY)},
    ),
    "device-eku": (
        "tls.alert-unsupported-certificate",
        lambda: {"server": server_cert(), "device": device_cert(usage=SERVER_AUTH)},
    ),
    "device-key-of-another": (
        "tls.alert-decrypt-error",
        lambda: {
            "server": server_cert(),
            "device": Pair(device_cert().der, ec.generate_private_key(ec.SECP256R1())),
        },
    ),
    "device-without-common-name": (
        "mqtt.bad-credentials",
        lambda: {"server": server_cert(), "device": make_leaf(CA, None, usage=CLIENT_AUTH)},
    ),
    "device-without-user": (
        "mqtt.not-authorized",
        lambda: {"server": server_cert(), "lines": ("allow_anonymous false",)},
    ),
    "tls-1.3-only": (
        "tls.alert-protocol-version",
        lambda: {"server": server_cert(), "lines": (NAMED, "tls_version tlsv1.3")},
    ),
    "no-common-suite": (
        "tls.alert-handshake-failure",
        lambda: {"server": server_cert(), "lines": (NAMED, "ciphers DHE-RSA-AES128-SHA256")},
    ),
}


def _ca_v1() -> Pair:
    return Pair(as_version_1(CA, CA).der, CA.key)


def _below_expired_anchor() -> dict:
    ca = make_ca("expired CA", after=-DAY / 2)
    return {"server": make_leaf(ca, "b", ("localhost",)), "anchors": (ca,)}


@pytest.mark.parametrize("case", REFUSED)
def test_each_fault_is_refused_by_its_own_code(case: str, tmp_path: Path, ntp: NtpServer) -> None:
    code, how = REFUSED[case]
    seen, detail = outcome(tmp_path, ntp, **how())
    assert seen == code, detail
    assert detail  # never a bare code


def test_a_revoked_device_is_told_so(tmp_path: Path, ntp: NtpServer) -> None:
    device = device_cert()
    (tmp_path / "crl.pem").write_bytes(make_crl(CA, device))
    lines = (NAMED, f"crlfile {tmp_path / 'crl.pem'}")
    code, _ = outcome(tmp_path, ntp, server_cert(), device=device, lines=lines)
    assert code == "tls.alert-certificate-revoked"


def test_the_evidence_of_a_wrong_name_shows_both_names(tmp_path: Path, ntp: NtpServer) -> None:
    server = make_leaf(CA, "b", ("example.test", "10.0.0.1"))
    _, detail = outcome(tmp_path, ntp, server)
    assert detail == "wanted localhost, certificate for example.test 10.0.0.1"


def test_an_intermediate_of_the_board_is_refused_where_the_engine_reads_no_pem(
    tmp_path: Path, ntp: NtpServer
) -> None:
    device = make_leaf(MID, DEVICE_ID, usage=CLIENT_AUTH, below=(MID,))
    code, detail = outcome(tmp_path, ntp, server_cert(), device=device)
    assert code == "x509.bad-certificate"
    assert "1 intermediates" in detail


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
    board.edit("apps/sensor.py", '"period_s": settings["period_s"]', '"period_s": 3600')
    board.power_on()
    board.wait_for("publish")
    time.sleep(9)  # keep alive is 5 s; the broker gives up after 7.5 s
    assert "PINGREQ" in broker.log()
    assert "exceeded timeout" not in broker.log()
    assert not board.events("mqtt.down")


def test_a_dead_link_is_noticed_by_the_missing_pingresp(
    board: Board, broker: Mosquitto, ntp: NtpServer
) -> None:
    with _Relay(broker.port) as relay:
        board.settle("localhost", relay.port, ntp.port)
        board.edit("apps/sensor.py", '"period_s": settings["period_s"]', '"period_s": 3600')
        board.power_on()
        board.wait_for("publish")
        relay.is_stalled = True
        assert board.wait_for("mqtt.down")["code"] == "mqtt.no-pingresp"
        relay.is_stalled = False
        board.wait_for("mqtt.up")


def test_a_publish_that_was_never_acknowledged_is_sent_again(
    board: Board, broker: Mosquitto, ntp: NtpServer
) -> None:
    with _Relay(broker.port) as relay:
        board.settle("localhost", relay.port, ntp.port, keepalive_s=60)
        board.edit(
            "keyfob/mqtt/session.py",
            "_ACK_LIMIT_MS = const(20_000)",
            "_ACK_LIMIT_MS = const(1_000)",
        )
        board.power_on()
        board.wait_for("publish")
        relay.is_stalled = True
        assert board.wait_for("mqtt.down")["code"] == "mqtt.no-puback"
        relay.is_stalled = False
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
    with NtpServer() as own_ntp, _Relay(broker.port) as relay:
        board.settle("localhost", relay.port, own_ntp.port)
        board.power_on()
        board.wait_for("publish")
        own_ntp.mode = "silent"
        relay.is_stalled = True
        board.wait_for("mqtt.down")
        relay.is_stalled = False
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
    with _Peer(b"HTTP/1.1 400 Bad Request\r\n\r\n") as peer:
        board.settle("localhost", peer.port, ntp.port)
        assert board.outcome()[0] == "tls.not-tls"


def test_an_alert_without_a_code_of_its_own_is_told_by_number(board: Board, ntp: NtpServer) -> None:
    with _Peer(bytes((21, 3, 3, 0, 2, 2, 112))) as peer:
        board.settle("localhost", peer.port, ntp.port)
        assert board.outcome() == ("tls.alert", "alert 112 from the broker")


def test_an_alert_46_is_certificate_unknown(board: Board, ntp: NtpServer) -> None:
    with _Peer(bytes((21, 3, 3, 0, 2, 2, 46))) as peer:
        board.settle("localhost", peer.port, ntp.port)
        assert board.outcome()[0] == "tls.alert-certificate-unknown"


def test_a_broker_that_never_answers_connect_is_told(
    board: Board, ntp: NtpServer, tmp_path: Path
) -> None:
    limit = "_CONNACK_LIMIT_MS = const(15_000)"
    board.edit("keyfob/connection.py", limit, "_CONNACK_LIMIT_MS = const(300)")
    with _Peer(b"", tls_from=tmp_path / "broker") as peer:
        board.settle("localhost", peer.port, ntp.port)
        assert board.outcome() == ("mqtt.no-connack", "300 ms")


def test_a_key_that_is_no_key_is_told(board: Board) -> None:
    board.provision([CA], key=b"no key")
    assert board.outcome() == ("tls.bad-key", "invalid key")


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


def test_a_silent_port_ends_by_time_limit(board: Board, ntp: NtpServer) -> None:
    board.edit(
        "keyfob/tls/handshake.py",
        "_HANDSHAKE_LIMIT_MS = const(30_000)",
        "_HANDSHAKE_LIMIT_MS = const(300)",
    )
    with _Peer(b"", stays_open=True) as peer:
        board.settle("localhost", peer.port, ntp.port)
        assert board.outcome() == ("tls.handshake-timeout", "0 bytes from the broker in 300 ms")


def test_a_record_that_makes_no_sense_is_a_failure_with_its_number(
    board: Board, ntp: NtpServer
) -> None:
    with _Peer(bytes((22, 3, 3, 0, 4, 14, 0, 0, 0))) as peer:  # ServerHelloDone first
        board.settle("localhost", peer.port, ntp.port)
        code, detail = board.outcome()
    assert code == "tls.failed"
    assert "handshake: -" in detail


def test_ctrl_c_leaves_nothing_but_keyboard_interrupt(board: Board) -> None:
    board.power_on()
    board.wait_for("publish")
    assert board.interrupt() == 130
    assert board.console[-1].strip() == "KeyboardInterrupt:"


class _Peer:
    """A TCP listener that reads what comes and answers each connection with some bytes."""

    def __init__(
        self, answer: bytes, *, stays_open: bool = False, tls_from: Path | None = None
    ) -> None:
        """``tls_from``: a broker's folder; then it ends the handshake and says nothing."""
        self._answer = answer
        self._tls = None
        if tls_from:
            self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._tls.load_cert_chain(tls_from / "chain.pem", tls_from / "key.pem")
        self._stays_open = stays_open
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
            connection.sendall(self._answer)
            self._open.append(connection)
            if not self._stays_open:
                connection.shutdown(socket.SHUT_WR)

    def __enter__(self) -> _Peer:
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()
        for connection in self._open:
            connection.close()


class _Relay:
    """A TCP relay that swallows everything while it is stalled."""

    def __init__(self, target: int) -> None:
        self.is_stalled = False
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
                far = socket.create_connection(("127.0.0.1", self._target))
            except OSError:
                return
            for source, sink in ((near, far), (far, near)):
                threading.Thread(target=self._pump, args=(source, sink), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        try:
            while data := source.recv(4096):
                if not self.is_stalled:
                    sink.sendall(data)
        except OSError:
            pass  # the other side went away
        sink.close()

    def __enter__(self) -> _Relay:
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()
