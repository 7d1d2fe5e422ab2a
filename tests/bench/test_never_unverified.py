"""Nothing in the firmware connects unverified: looked for in the source, and tried.

The source is searched for every spelling by which MicroPython can be told not to
verify; then each way that a user, a file or a port could try is tried on a running
board, with a listener that counts what reaches it.
"""

from __future__ import annotations

import json
import re
import shutil
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from certificates import Pair, make_ca, make_leaf
from firmware_bench import FIRMWARE, Board, Mosquitto, mutual_tls

from keyfob_host.ntp import Mode, NtpServer
from keyfob_host.parts import left_out

# What a board with mbedTLS gets, and what one with Keyfob's own engine gets.
SOURCES, OWN_SOURCES = (
    sorted(path for path in FIRMWARE.rglob("*.py") if str(path.relative_to(FIRMWARE)) not in out)
    for out in (left_out(FIRMWARE, "mbedtls"), left_out(FIRMWARE, "keyfob"))
)
CA = make_ca()


class Listener:
    """Counts the connections that reach a port."""

    def __init__(self) -> None:
        self.connections = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            connection.close()

    def close(self) -> None:
        self._listener.close()


@pytest.fixture
def listener() -> Iterator[Listener]:
    made = Listener()
    yield made
    made.close()


@pytest.fixture
def ntp() -> Iterator[NtpServer]:
    with NtpServer() as server:
        yield server


@pytest.fixture
def board(tmp_path: Path, listener: Listener, ntp: NtpServer) -> Iterator[Board]:
    """A board that would connect to the listener: each test takes one thing away."""
    with Board(tmp_path / "board") as made:
        made.settle("localhost", listener.port, ntp.port)
        made.provision([CA])
        yield made


def code_of(path: Path) -> str:
    """The source without comments and docstrings, which may name what is forbidden."""
    text = re.sub(r'"""[\s\S]*?"""', "", path.read_text("utf-8"))
    return re.sub(r"#.*", "", text)


FORBIDDEN = {
    "CERT_NONE": r"CERT_NONE",
    "CERT_OPTIONAL": r"CERT_OPTIONAL",
    "check_hostname": r"check_hostname",
    "cert_reqs": r"cert_reqs",
    "the ssl wrapper, whose default is CERT_NONE": r"\bimport ssl\b|\bfrom ssl\b|\bssl\.",
    "asyncio's own connection, which may be plain": r"open_connection|start_server",
    "umqtt or requests": r"umqtt|requests|urequests",
    "server side or datagram TLS": r"PROTOCOL_TLS_SERVER|PROTOCOL_DTLS|server_side",
    # Not psk_ke, by which a session is taken up whose broker was verified.
    "pre-shared keys instead of certificates": r"\bpsk(?!_ke\b)",
    "a number where CERT_REQUIRED belongs": r"verify_mode\s*=\s*\d",
    "an import that hides its name": r"__import__\([^\"']|importlib|\bexec\(|\beval\(",
}


@pytest.mark.parametrize("what", FORBIDDEN)
def test_no_source_contains(what: str) -> None:
    found = [path.name for path in SOURCES if re.search(FORBIDDEN[what], code_of(path))]
    assert found == []


# Each thing that makes a connection, and the one place where it is done.
PLACES = {
    "wrap_socket": ["handshake.py"],
    "server_hostname": ["handshake.py"],
    "SSLContext": ["context.py"],
    "verify_mode": ["context.py"],
    "import tls": ["context.py"],
    "SOCK_STREAM": ["tcp.py"],
    "SOCK_DGRAM": ["datagrams.py"],
    "import socket": ["datagrams.py", "tcp.py"],
}


@pytest.mark.parametrize("what", PLACES)
def test_only_its_own_module_contains(what: str) -> None:
    found = [path.name for path in SOURCES if re.search(rf"\b{what}\b", code_of(path))]
    assert found == PLACES[what]


def test_each_thing_is_done_once() -> None:
    code = "".join(code_of(path) for path in SOURCES)
    assert code.count("wrap_socket(") == 1
    assert code.count("SSLContext(") == 1
    assert "wrap_socket(tap, server_hostname=host," in code
    # The verify mode is only ever written as what is required.
    assert re.findall(r"verify_mode = (.*)", code) == ['getattr(tls, "CERT_REQUIRED", None)']
    # Outside the handshake the judge refuses every chain.
    assert re.findall(r"verify_callback = (.*)", code) == ["refuse", "chain.see", "refuse"]


@pytest.mark.parametrize(
    ("sources", "opening", "taker"),
    [
        (SOURCES, "mbedtls.py", "engine = await handshake.shake_hands(context, "),
        (OWN_SOURCES, "opening.py", "stream = EngineStream(engine, "),
    ],
)
def test_a_tcp_connection_is_given_to_nothing_but_the_handshake(
    sources: list[Path], opening: str, taker: str
) -> None:
    using = [path.name for path in sources if re.search(r"import tcp\b", code_of(path))]
    assert using == [opening]
    code = code_of(FIRMWARE / "keyfob" / "tls" / opening)
    rest = code.partition("sock = await tcp.connect(host, port)")[2]
    assert rest.partition("sock")[0].endswith(taker)


def test_keyfobs_own_engine_is_made_in_one_place_and_with_the_clock_and_the_anchors() -> None:
    making = [path.name for path in OWN_SOURCES if re.search(r"\bEngine\(", code_of(path))]
    assert making == ["opening.py"]
    code = code_of(FIRMWARE / "keyfob" / "tls" / "opening.py")
    assert "Engine(\n            host, identity, now_s, client=identity," in code
    # A pre-shared key would stand for the broker's certificate: no setting leads to it.
    assert "psk" not in code.replace("psk_ke", "")


def test_the_search_would_find_each_spelling() -> None:
    seeded = {
        "CERT_NONE": "context.verify_mode = tls.CERT_NONE",
        "CERT_OPTIONAL": "tls.CERT_OPTIONAL",
        "check_hostname": "context.check_hostname = False",
        "cert_reqs": "wrap(cert_reqs=0)",
        "the ssl wrapper, whose default is CERT_NONE": "import ssl",
        "asyncio's own connection, which may be plain": "asyncio.open_connection(h, 1883)",
        "umqtt or requests": "from umqtt.simple import MQTTClient",
        "server side or datagram TLS": "tls.PROTOCOL_DTLS_CLIENT",
        "pre-shared keys instead of certificates": "context.psk_key = key",
        "a number where CERT_REQUIRED belongs": "context.verify_mode = 0",
        "an import that hides its name": "__import__(name)",
    }
    assert seeded.keys() == FORBIDDEN.keys()
    for what, line in seeded.items():
        assert re.search(FORBIDDEN[what], line), what


SETTINGS = {
    "verify": ({}, {"verify": False}),
    "tls.verify": ({"tls": {"verify": False}}, {}),
    "tls.insecure": ({"tls": {"insecure": True}}, {}),
    "tls.verify_mode": ({"tls": {"engine": "mbedtls", "verify_mode": 0}}, {}),
    "tls.check_hostname": ({"tls": {"check_hostname": False}}, {}),
    "broker.tls": ({"broker": {"tls": False}}, {}),
    "broker.server_hostname": ({"broker": {"server_hostname": "x"}}, {}),
    "broker.ca": ({"broker": {"ca": ""}}, {}),
    "ntp.trust_rtc": ({"ntp": {"trust_rtc": True}}, {}),
}


@pytest.mark.parametrize("key", SETTINGS)
def test_a_setting_that_would_weaken_verification_is_refused(
    key: str, board: Board, listener: Listener, ntp: NtpServer
) -> None:
    sections, top = SETTINGS[key]
    settings: dict[str, dict[str, object]] = {
        "wifi": {"ssid": "bench"},
        "ntp": {"servers": [f"127.0.0.1:{ntp.port}"]},
        "broker": {"host": "localhost", "port": listener.port},
    }
    for name, section in sections.items():
        settings[name] = {**settings.get(name, {}), **section}
    board.write_settings({"device_id": "sensor-01", **settings, **top})
    assert board.outcome() == ("config.unknown-key", key)
    assert (listener.connections, ntp.requests) == (0, 0)


def test_an_engine_that_cannot_verify_cannot_be_chosen_by_name(
    board: Board, listener: Listener
) -> None:
    board.write_settings(
        {
            "device_id": "sensor-01",
            "wifi": {"ssid": "bench"},
            "ntp": {"servers": ["127.0.0.1"]},
            "broker": {"host": "localhost", "port": listener.port},
            "tls": {"engine": "none"},
        }
    )
    assert board.outcome()[0] == "config.bad-value"
    assert listener.connections == 0


def test_an_unset_clock_reaches_no_port(board: Board, listener: Listener, ntp: NtpServer) -> None:
    ntp.mode = Mode.SILENT
    board.edit(
        "keyfob/time_servers.py", "_REPLY_LIMIT_MS = const(3_000)", "_REPLY_LIMIT_MS = const(200)"
    )
    assert board.outcome()[0] == "clock.no-answer"
    assert listener.connections == 0


def test_the_stream_itself_refuses_an_unset_clock(board: Board, listener: Listener) -> None:
    # As if a later change forgot to set the clock before connecting.
    board.edit("keyfob/uplink.py", "await self.clock.set()", "pass")
    assert board.outcome() == ("clock.never-set", "no NTP reply since boot")
    assert listener.connections == 0


ANCHORS = {
    "missing": ("store.missing", lambda path: path.unlink()),
    "changed": ("store.hash-mismatch", lambda path: path.write_bytes(CA.der + b"\0")),
    "another's": ("store.hash-mismatch", lambda path: path.write_bytes(make_ca("x").der)),
}


@pytest.mark.parametrize("fault", ANCHORS)
def test_a_trust_anchor_that_is_not_the_provisioned_one_reaches_no_port(
    fault: str, board: Board, listener: Listener
) -> None:
    code, spoil = ANCHORS[fault]
    spoil(board.folder / "id" / "a" / "ca.der")
    assert board.outcome()[0] == code
    assert listener.connections == 0


@pytest.mark.parametrize("content", [b"", b"\0", b"no certificate", CA.der[:-1], CA.chain_pem()])
def test_a_trust_anchor_that_cannot_be_read_reaches_no_port(
    content: bytes, board: Board, listener: Listener
) -> None:
    board.provision([CA], ca=content)
    assert board.outcome()[0] == "store.bad-anchor"
    assert listener.connections == 0


def test_a_manifest_without_a_trust_anchor_reaches_no_port(
    board: Board, listener: Listener
) -> None:
    manifest = board.folder / "id" / "a" / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"ca.der"', '"cb.der"'))
    assert board.outcome()[0] == "store.bad-manifest"
    assert listener.connections == 0


# The first two are what the ESP8266's axTLS is like.
ENGINES = {
    "ignores-writes-to-verify-mode": (
        "class SSLContext:\n"
        "    def __init__(self, protocol):\n        pass\n"
        "    verify_mode = property(lambda self: 0, lambda self, value: None)\n"
        "PROTOCOL_TLS_CLIENT, CERT_NONE, CERT_REQUIRED = 0, 0, 2\n"
    ),
    "has-no-name-for-required": (
        "class SSLContext:\n    def __init__(self, protocol):\n        pass\n"
        "PROTOCOL_TLS_CLIENT, CERT_NONE = 0, 0\n"
    ),
    "has-no-verify-mode": (
        "class SSLContext:\n    __slots__ = ()\n    def __init__(self, protocol):\n        pass\n"
        "    def __setattr__(self, name, value):\n        pass\n"
        "PROTOCOL_TLS_CLIENT, CERT_NONE, CERT_REQUIRED = 0, 0, 2\n"
    ),
}


@pytest.mark.parametrize("module", ["opening", "mbedtls"])
def test_an_engine_that_is_not_on_the_board_is_replaced_by_none(
    module: str, board: Board, listener: Listener, ntp: NtpServer
) -> None:
    (board.folder / "keyfob" / "tls" / f"{module}.py").unlink()
    settings = json.loads((board.folder / "keyfob.json").read_text())
    settings["tls"] = {"engine": "keyfob" if module == "opening" else "mbedtls"}
    (board.folder / "keyfob.json").write_text(json.dumps(settings))
    code, detail = board.outcome()
    assert code == "tls.no-engine"
    assert f"keyfob.tls.{module}" in detail
    assert listener.connections == 0


@pytest.mark.parametrize("engine", ENGINES)
def test_an_engine_that_does_not_verify_reaches_no_port(
    engine: str, board: Board, listener: Listener
) -> None:
    (board.folder / "weak_tls.py").write_text(ENGINES[engine])
    board.edit("keyfob/tls/context.py", "import tls\n", "import weak_tls as tls\n")
    assert board.outcome()[0] == "tls.cannot-verify"
    assert listener.connections == 0


@pytest.mark.mosquitto
@pytest.mark.skipif(shutil.which("mosquitto") is None, reason="mosquitto is not installed")
def test_an_engine_that_judges_no_chain_is_refused_after_the_handshake(
    board: Board, tmp_path: Path, ntp: NtpServer
) -> None:
    # It keeps the verify mode it was given and then does not act on it: the real engine,
    # told behind our back not to verify, below a context that says it was not.
    (board.folder / "weak_tls.py").write_text(
        "import tls\n"
        "PROTOCOL_TLS_CLIENT, CERT_REQUIRED = tls.PROTOCOL_TLS_CLIENT, tls.CERT_REQUIRED\n"
        "class SSLContext:\n"
        "    def __init__(self, protocol):\n"
        "        self._real = tls.SSLContext(protocol)\n"
        "        self._real.verify_mode = tls.CERT_NONE\n"
        "        self.load_verify_locations = self._real.load_verify_locations\n"
        "        self.load_cert_chain = self._real.load_cert_chain\n"
        "        self.wrap_socket = self._real.wrap_socket\n"
        "        self.set_ciphers = self._real.set_ciphers\n"
    )
    board.edit("keyfob/tls/context.py", "import tls\n", "import weak_tls as tls\n")
    stranger: Pair = make_leaf(make_ca("stranger"), "b", ("localhost",))
    with Mosquitto(tmp_path / "m", mutual_tls(tmp_path / "m", stranger, CA)) as broker:
        board.settle("localhost", broker.port, ntp.port)
        assert board.outcome()[0] == "tls.cannot-verify"
        assert "New client connected" not in broker.log()


@pytest.mark.mosquitto
@pytest.mark.skipif(shutil.which("mosquitto") is None, reason="mosquitto is not installed")
def test_a_verify_callback_that_accepts_everything_accepts_nothing_more(
    board: Board, tmp_path: Path, ntp: NtpServer
) -> None:
    board.edit("keyfob/tls/chain.py", "return -1 if self.error else 0", "return 0")
    stranger = make_leaf(make_ca("stranger"), "b", ("localhost",))
    with Mosquitto(tmp_path / "m", mutual_tls(tmp_path / "m", stranger, CA)) as broker:
        board.settle("localhost", broker.port, ntp.port)
        assert board.outcome()[0] == "x509.untrusted"
