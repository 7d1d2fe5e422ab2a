"""The tap between real boards and real mosquitto: mbedTLS, Keyfob's engine, every alert.

Rows are those of the catalogue of failures. The board of most is a virtual ESP32 in its
REPL, so that what it does is what MicroPython's ssl does and nothing of the firmware's own
checks comes before; the last tests run the whole firmware through ``keyfob broker up --tap``.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import ssl
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import pytest
from certificates import CLIENT_AUTH, DAY, SERVER_AUTH, Pair, make_ca, make_crl, make_leaf
from cryptography import x509
from firmware_bench import Mosquitto, mutual_tls
from tls_rig import TLS12, TLS13, Client, KeyfobError, no_collector  # noqa: F401
from tls_rig import Engine as KeyfobEngine
from tls_tcp import Connection as EngineConnection
from virtual_rig import IMAGE_OFFSET, SerialConsole, wait_for_log

from keyfob_host.doctor.catalogue import load_catalogue
from keyfob_host.doctor.conversation import Conversation, Fact, Sender
from keyfob_host.doctor.tap import Tap, TapConnection
from keyfob_host.flash.images import demo_image
from keyfob_host.home import Home
from keyfob_host.relay import Connection, Direction
from keyfob_host.virtual import VirtualBoard

HOST = "broker.keyfob.test"
CONNECT = b"\x10\x15\0\4MQTT\4\2\0\x3c\0\x09sensor-01"
CONNACK = b"\x20\2\0\0"
CA, OTHER = make_ca(), make_ca("another CA")
BROKER = make_leaf(CA, "broker", (HOST,))
DEVICE = make_leaf(CA, "sensor-01", usage=CLIENT_AUTH)
TLS12_ONLY = ("use_identity_as_username true", "tls_version tlsv1.2")
WAIT_S = 30.0
pytestmark = [
    pytest.mark.mosquitto,
    pytest.mark.skipif(shutil.which("mosquitto") is None, reason="mosquitto is not installed"),
]


class RecordingTap(Tap):
    """Keeps the pieces of each connection as they passed, to be read again in other ways."""

    def __init__(self, port: int) -> None:
        super().__init__(("127.0.0.1", port))
        self.pieces: list[list[tuple[Sender, bytes]]] = []

    def opened(self, connection: Connection, peer: str) -> None:
        self.pieces.append([])
        super().opened(connection, peer)

    def passed(self, connection: Connection, direction: Direction, data: bytes) -> None:
        self.pieces[-1].append(("board" if direction == "up" else "broker", data))
        super().passed(connection, direction, data)

    def over(self) -> TapConnection:
        """The only connection that said something, once it has ended."""
        assert self.wait(lambda ones: any(said(one) and not one.alive for one in ones), WAIT_S)
        (found,) = [one for one in self.connections if said(one)]
        return found


def said(one: TapConnection) -> bool:
    # The link of a virtual board connects when a name is resolved; it may not be used.
    return one.conversation.sides["board"].records.bytes_seen > 0


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VirtualBoard]:
    """A virtual ESP32 in its REPL, on the network, with its clock set."""
    home = Home(tmp_path_factory.mktemp("tap") / "bench")
    made = VirtualBoard.up(home, "virtual-esp32", powered=False)
    try:
        with Path(made.info()["flash"]).open("r+b") as flash:
            flash.seek(IMAGE_OFFSET)
            flash.write(demo_image(home).read_bytes())
        made.power(True)
        wait_for_log(made, ">>> ")
        now = time.gmtime()
        run(
            made,
            "import network, machine, time\n"
            f"machine.RTC().datetime({(*now[:3], 0, *now[3:6], 0)})\n"
            "s = network.WLAN(0); s.active(True)\n"
            "s.connect('keyfob-bench', 'keyfob-bench-password')\n"
            "while not s.isconnected(): time.sleep_ms(10)\n",
        )
        yield made
    finally:
        made.down()


def run(board: VirtualBoard, code: str) -> str:
    with SerialConsole(board) as console:
        return console.run(code).decode()


def try_mbedtls(
    board: VirtualBoard, port: int, anchor: Pair, device: Pair | None, name: str
) -> str:
    """Connect as MicroPython's ssl does; "b' \\x02\\x00\\x00'" or the error."""
    own = f"c.load_cert_chain({device.der!r}, {device.key_der()!r})\n" if device else ""
    return run(
        board,
        "import socket, tls\n"
        f"a = socket.getaddrinfo({HOST!r}, {port})[0][-1]\n"
        "c = tls.SSLContext(tls.PROTOCOL_TLS_CLIENT); c.verify_mode = tls.CERT_REQUIRED\n"
        f"c.load_verify_locations({anchor.der!r})\n{own}"
        "s = socket.socket(); s.connect(a)\n"
        "try:\n"
        f" t = c.wrap_socket(s, server_hostname={name!r})\n"
        f" t.write({CONNECT!r}); print(t.read(4)); t.close()\n"
        "except Exception as e: print(type(e).__name__, e)\n"
        "s.close()\n",
    ).strip()


@dataclass
class Row:
    """A row of the catalogue: the alert, who sends it, and what is wrong."""

    alert: int
    sender: str
    words: str
    server: Pair = field(default_factory=lambda: BROKER)
    anchor: Pair = field(default_factory=lambda: CA)
    device: Pair | None = field(default_factory=lambda: DEVICE)
    name: str = HOST
    lines: tuple[str, ...] = TLS12_ONLY
    is_revoked: bool = False


ROWS = {
    "3-broker-expired": Row(
        45, "board", "has expired by the board's clock",
        server=make_leaf(CA, "broker", (HOST,), before=-3 * DAY, after=-DAY),
    ),
    "5-wrong-ca-on-the-board": Row(
        48, "board", "does not know the CA of the broker's certificate", anchor=OTHER
    ),
    "9-wrong-name": Row(
        42, "board", f"is not for {HOST}, which the board asks for: DNS:elsewhere.test",
        server=make_leaf(CA, "broker", ("elsewhere.test",)),
    ),
    "11-client-certificate-not-sent": Row(40, "broker", "the board sent none", device=None),
    "12-client-of-another-ca": Row(
        48, "broker", "does not know the CA of the board's certificate",
        device=make_leaf(OTHER, "sensor-01", usage=CLIENT_AUTH),
    ),
    "13-client-expired": Row(
        45, "broker", "the board's certificate has expired",
        device=make_leaf(CA, "sensor-01", usage=CLIENT_AUTH, before=-3 * DAY, after=-DAY),
    ),
    "14-client-not-yet-valid": Row(
        42, "broker", "not yet valid by the broker's clock",
        device=make_leaf(CA, "sensor-01", usage=CLIENT_AUTH, before=DAY),
    ),
    "15-client-revoked": Row(44, "broker", "revocation list", is_revoked=True),
    "17-client-is-a-server": Row(
        43, "broker", "not for a client", device=make_leaf(CA, "sensor-01", usage=SERVER_AUTH)
    ),
    "18-broker-is-a-client": Row(
        43, "board", "not for a server",
        server=make_leaf(CA, "broker", (HOST,), usage=CLIENT_AUTH),
    ),
    "23-tls-1.3-only": Row(
        70, "broker", "the TLS versions that the board offers: TLS 1.2",
        lines=("use_identity_as_username true", "tls_version tlsv1.3"),
    ),
    "24-no-common-suite": Row(
        40, "broker", "no cipher suite in common",
        lines=(*TLS12_ONLY, "ciphers DHE-RSA-AES128-SHA256"),
    ),
}  # fmt: skip


def mosquitto(folder: Path, row: Row) -> Mosquitto:
    lines = list(row.lines)
    if row.is_revoked:
        assert row.device
        (folder / "crl.pem").write_bytes(make_crl(CA, row.device))
        lines.append(f"crlfile {folder / 'crl.pem'}")
    return Mosquitto(folder / "broker", mutual_tls(folder / "broker", row.server, CA, *lines))


@pytest.mark.parametrize("case", ROWS)
def test_the_alert_of_a_failure_is_seen_with_its_number_and_sender(
    case: str, board: VirtualBoard, tmp_path: Path
) -> None:
    row = ROWS[case]
    with mosquitto(tmp_path, row) as broker, RecordingTap(broker.port) as tap:
        answer = try_mbedtls(board, tap.port, row.anchor, row.device, row.name)
        assert "Error" in answer, answer
        seen = tap.over()
    assert [one for one in seen.alerts if one[1]] == [(row.sender, row.alert)], answer
    assert seen.verdict is not None and row.words in seen.verdict.meaning
    assert not seen.verdict.is_well
    number = int(case.partition("-")[0])
    assert load_catalogue()[seen.verdict.causes[0]].row == number
    check_cuts(tap.pieces[seen.number - 1])


def test_tls_on_a_plain_port_is_told(board: VirtualBoard, tmp_path: Path) -> None:
    """Row 29: mosquitto's plain listener says nothing to a ClientHello."""
    with (
        Mosquitto(tmp_path / "broker", ["allow_anonymous true"]) as broker,
        RecordingTap(broker.port) as tap,
    ):
        assert "Error" in try_mbedtls(board, tap.port, CA, DEVICE, HOST)
        seen = tap.over()
    assert seen.verdict and seen.verdict.causes == ("tcp.wrong-port",)
    assert "a port without TLS does that" in seen.verdict.text


def test_mbedtls_and_mosquitto_are_read_whole_and_cut(board: VirtualBoard, tmp_path: Path) -> None:
    with mosquitto(tmp_path, Row(0, "", "")) as broker, RecordingTap(broker.port) as tap:
        assert try_mbedtls(board, tap.port, CA, DEVICE, HOST) == str(CONNACK)
        seen = tap.over()
    hello, chain = seen.find("client-hello"), seen.find("certificate", "broker")
    assert hello and chain and seen.verdict and seen.verdict.is_well
    assert hello.fields["server_name"] == HOST and hello.fields["versions"] == ["TLS 1.2"]
    assert chain.certificates[0] == BROKER.der
    own = seen.find("certificate", "board")
    assert own and own.certificates == (DEVICE.der,)
    assert seen.find("certificate-verify", "board") and seen.find("application-data", "broker")
    check_cuts(tap.pieces[seen.number - 1])


def facts_of(stream: list[tuple[Sender, bytes]]) -> list[Fact]:
    conversation = Conversation()
    return [fact for sender, data in stream for fact in conversation.feed(sender, data)]


def check_cuts(stream: list[tuple[Sender, bytes]]) -> None:
    """Byte by byte, in random pieces, and with bytes behind the end: the same facts."""
    whole = facts_of(stream)
    random = Random(1)
    for most in (1, 5, 700):
        pieces: list[tuple[Sender, bytes]] = []
        for sender, data in stream:
            at = 0
            while at < len(data):
                size = random.randint(1, most)
                pieces.append((sender, data[at : at + size]))
                at += size
        assert facts_of(pieces) == whole
    assert facts_of([*stream, ("board", b"no record at all")])[: len(whole)] == whole


# -- Keyfob's own engine


def own_engine(tap: Tap, anchor: Pair, device: Pair, *versions: int) -> str:
    """CONNECT with Keyfob's engine; "" or the code of its error."""
    engine = KeyfobEngine(
        HOST, [anchor.der], int(time.time()), versions=versions, client=Client(device)
    )
    connection = EngineConnection(engine, tap.port)
    try:
        connection.open()
        connection.write(CONNECT)
        connection.expect(CONNACK)
    except KeyfobError as error:
        return str(error.args[0])
    finally:
        connection.close()
    return ""


@pytest.mark.parametrize("version", [TLS12, TLS13])
def test_keyfobs_engine_is_read_whole_and_cut(version: int, tmp_path: Path) -> None:
    row = Row(0, "", "", lines=("use_identity_as_username true",))
    with mosquitto(tmp_path, row) as broker, RecordingTap(broker.port) as tap:
        assert own_engine(tap, CA, DEVICE, version) == ""
        seen = tap.over()
    answer = seen.find("server-hello")
    assert answer and answer.fields["version"] == {TLS12: "TLS 1.2", TLS13: "TLS 1.3"}[version]
    assert seen.verdict and seen.verdict.is_well
    assert bool(seen.find("certificate", "board")) == (version == TLS12)
    check_cuts(tap.pieces[0])


def test_an_engine_that_refuses_or_is_refused_shows_its_alert(tmp_path: Path) -> None:
    with mosquitto(tmp_path, ROWS["5-wrong-ca-on-the-board"]) as broker:
        with RecordingTap(broker.port) as tap:
            assert own_engine(tap, OTHER, DEVICE, TLS12) == "x509.untrusted"
            assert tap.over().alerts == [("board", 48)]
        with RecordingTap(broker.port) as tap:
            device = ROWS["12-client-of-another-ca"].device
            assert device
            assert own_engine(tap, CA, device, TLS12) == "tls.alert-unknown-ca"
            assert tap.over().alerts[0] == ("broker", 48)


def test_in_tls_1_3_a_refused_board_is_told_by_the_brokers_only_answer(tmp_path: Path) -> None:
    row = Row(0, "", "", lines=("use_identity_as_username true",))
    device = ROWS["13-client-expired"].device
    assert device
    with mosquitto(tmp_path, row) as broker, RecordingTap(broker.port) as tap:
        assert own_engine(tap, CA, device, TLS13) == "tls.alert-certificate-expired"
        seen = tap.over()
    assert seen.verdict and "only answer is as short as an alert" in seen.verdict.text


def test_in_tls_1_3_the_board_that_refuses_is_told_from_its_first_record(tmp_path: Path) -> None:
    row = Row(0, "", "", lines=("use_identity_as_username true",))
    with mosquitto(tmp_path, row) as broker, RecordingTap(broker.port) as tap:
        assert own_engine(tap, OTHER, DEVICE, TLS13) == "x509.untrusted"
        seen = tap.over()
    assert seen.find("encrypted-alert", "board")
    assert seen.verdict and "only an alert is" in seen.verdict.text


# -- the whole firmware, through the option


class Keyfob:
    def __init__(self, home: Path) -> None:
        self.home = home

    def run(self, *arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "keyfob_host", *arguments],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=90,
            env={**os.environ, "KEYFOB_HOME": str(self.home)}, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{arguments}: {done.stdout}{done.stderr}"
        return done.stdout

    def events(self) -> list[dict[str, Any]]:
        lines = (self.home / "broker" / "tap.jsonl").read_text().splitlines()
        return [json.loads(line) for line in lines]


@pytest.fixture
def keyfob(tmp_path: Path) -> Iterator[Keyfob]:
    made = Keyfob(tmp_path / "home")
    yield made
    for command in (("board", "down", "--all"), ("ntp", "down"), ("broker", "down")):
        made.run(*command)


@pytest.mark.parametrize(
    "kind", ["virtual-esp32", pytest.param("virtual-esp8266", marks=pytest.mark.slow)]
)
def test_a_tap_goes_before_the_broker_of_a_provisioned_board(kind: str, keyfob: Keyfob) -> None:
    """Provisioned without, tapped later on the same port: the board needs nothing new."""
    keyfob.run("ca", "init", "--no-passphrase")
    keyfob.run("cert", "broker", HOST, "--san", "IP:127.0.0.1")
    keyfob.run("cert", "device", "sensor-01")
    port = json.loads(keyfob.run("--json", "broker", "up", "--port", "0"))["port"]
    keyfob.run("ntp", "up", "--port", "0")
    keyfob.run("board", "up", kind)
    board = ("--board", kind)
    keyfob.run("flash", *board)
    keyfob.run("sync", *board)
    keyfob.run("provision", *board, "--identity", "sensor-01", "--no-reset")
    keyfob.run("broker", "down")
    keyfob.run("broker", "up", "--tap", "--port", str(port))
    keyfob.run("monitor", *board, "--reset", "--until", "publish", "--for", "60")
    assert "behind a tap" in keyfob.run("broker", "status")
    events = keyfob.events()
    pem = (keyfob.home / "certs" / "device" / "sensor-01" / "cert.pem").read_bytes()
    subject = x509.load_pem_x509_certificate(pem).subject.rfc4514_string()
    shown = [one for one in events if (one["from"], one["what"]) == ("board", "certificate")]
    if kind == "virtual-esp32":  # TLS 1.2 shows it in clear
        assert shown[0]["certificates"][0]["subject"] == subject
    hello = next(one for one in events if one["what"] == "client-hello")
    assert hello["server_name"] == HOST
    assert any(one["what"] in ("application-data", "encrypted") for one in events)
    assert not any(one["what"] in ("alert", "malformed", "unread") for one in events)


def test_an_end_that_one_side_alone_makes_is_told_and_not_waited_for() -> None:
    """A MicroPython at its prompt keeps the socket of a program that an exception ended."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    engine = context.wrap_bio(incoming, outgoing, server_hostname=HOST)
    with contextlib.suppress(ssl.SSLWantReadError):
        engine.do_handshake()
    with socket.create_server(("127.0.0.1", 0)) as server:
        target = ("127.0.0.1", server.getsockname()[1])
        with Tap(target) as tap:
            board = socket.create_connection(("127.0.0.1", tap.port), WAIT_S)
            with board:
                board.sendall(outgoing.read())
                broker, _ = server.accept()
                broker.recv(4096)
                broker.close()
                assert tap.wait(lambda ones: any(kinds(one)["half-open"] for one in ones), WAIT_S)
                (one,) = tap.connections
                assert one.alive
                event = next(event for event in one.events if event.what == "half-open")
                assert event.fields["ended_by"] == "broker"
                assert "tcp.wrong-port" in event.fields["causes"]
            assert tap.wait(lambda ones: not ones[0].alive, WAIT_S)
        assert (kinds(one)["half-open"], kinds(one)["summary"]) == (1, 1)


def kinds(one: TapConnection) -> Counter[str]:
    return Counter(event.what for event in one.events)
