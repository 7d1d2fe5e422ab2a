"""A private key and a Wi-Fi password whose bytes are known, looked for everywhere but where
they belong: the identity's folder, the board's flash, and one upload for each provisioning.

The board is provisioned, refused, connected, damaged, asked by its shell, watched by the
monitor and tested by a suite that fails. What it prints and is told, what the commands
print and write, their reports, the broker's log and the arguments of every process while
all that runs are searched for the key raw, in hex, in base64, as Python shows bytes, and as
numbers. Not searched: memory, and the environment of processes.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import re
import select
import socket
import subprocess
import sys
import threading
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from provision_bench import KIND, board_files, powered_board
from virtual_rig import SerialConsole, log, wait_until

from keyfob_host.boards import BoardRef
from keyfob_host.broker import MosquittoBroker
from keyfob_host.ntp import NtpServer
from keyfob_host.pki.authority import Authority
from keyfob_host.sync import sync_board
from keyfob_host.virtual import VirtualBoard

pytestmark = pytest.mark.mosquitto
NAME, DEVICE_ID = "broker.keyfob.test", "sensor-01"
PASSWORD = "canary-of-the-wifi-4711"  # not the access point's
BENCH_PASSWORD = "keyfob-bench-password"  # everybody knows it
WINDOW_BYTES = 12
PIECE = re.compile(rb"_kf_([wz])\('([A-Za-z0-9+/=]*)'\)")

# A story that fails behind a connection, so that its report has all the evidence.
SUITE = """
def test_fails(board):
    board.connected()
    board.provision()
    board.spoil("key.der")
    board.wait_event("store.fallback")
    board.wait_event("never", 0.1)
"""
# What the board does before its power goes: damage, and errors that nobody caught.
DAMAGE = """
import os
from keyfob import store
slot = open("/id/active").read()
path = "/id/%s/key.der" % slot
key = bytearray(open(path, "rb").read())
key[-1] ^= 1
with open(path, "wb") as file:
    file.write(key)
del key
"""


def forms(secret: bytes) -> dict[str, bytes]:
    """How pieces of ``secret`` may look in a text or a file, by name."""
    found: dict[str, bytes] = {}
    for at in range(0, len(secret) - WINDOW_BYTES + 1, WINDOW_BYTES - 2):
        piece = secret[at : at + WINDOW_BYTES]
        found[f"raw {at}"] = piece
        found[f"repr {at}"] = repr(piece)[2:-1].encode()
        for joint in ("", " ", ":"):
            digits = piece.hex(joint) if joint else piece.hex()
            found[f"hex {joint!r} {at}"] = digits.encode()
            found[f"HEX {joint!r} {at}"] = digits.upper().encode()
        for joint in (",", ", ", " "):
            found[f"numbers {joint!r} {at}"] = joint.join(map(str, piece)).encode()
        for skip in range(3):
            whole = (WINDOW_BYTES - skip) // 3 * 3
            text = base64.b64encode(piece[skip : skip + whole])
            found[f"base64 {skip} {at}"] = text
            found[f"base64url {skip} {at}"] = text.replace(b"+", b"-").replace(b"/", b"_")
    found["integer"] = str(int.from_bytes(secret, "big")).encode()
    return found


def scalar(key_der: bytes) -> bytes:
    """The private scalar of a P-256 key (RFC 5915 section 3), also of a damaged one."""
    assert key_der[:7] == b"\x30\x77\x02\x01\x01\x04\x20"
    return key_der[7:39]


def traces(secrets: dict[str, bytes], content: bytes) -> list[str]:
    return [name for name, form in secrets.items() if form in content]


class Wire:
    """A recorder between the tools and the board's serial port; both directions are kept."""

    def __init__(self, board: VirtualBoard) -> None:
        self.typed, self.said = bytearray(), bytearray()
        host, _, port = board.info()["socket_url"].removeprefix("socket://").partition(":")
        self._target = (host, int(port))
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"socket://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return  # closed
            with client, socket.create_connection(self._target) as board:
                ends = {client: (board, self.typed), board: (client, self.said)}
                while ends:
                    for one in select.select(list(ends), [], [])[0]:
                        other, kept = ends[one]
                        try:
                            data = one.recv(1 << 16)
                            kept += data
                            if data:
                                other.sendall(data)
                                continue
                        except OSError:
                            pass  # one of them is gone
                        ends = {}
                        break

    def uploads(self) -> list[bytes]:
        """What was sent in pieces, decoded; and the record goes on without it."""
        found = []
        for kind, text in PIECE.findall(bytes(self.typed)):
            content = base64.b64decode(text)
            found.append(zlib.decompress(content, -15) if kind == b"z" else content)
        self.typed[:] = PIECE.sub(b"", bytes(self.typed))
        return found

    def close(self) -> None:
        self._listener.close()


class Arguments:
    """The arguments of all processes of this machine, looked at all the time."""

    def __init__(self) -> None:
        self.seen: set[bytes] = set()
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        while not self._is_over.wait(0.01):
            for entry in Path("/proc").iterdir():
                if entry.name.isdigit():
                    with contextlib.suppress(OSError):  # it ended meanwhile
                        self.seen.add((entry / "cmdline").read_bytes())

    def __enter__(self) -> Arguments:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join()


@dataclass
class Rig:
    """``said``: what commands printed, by their name."""

    folder: Path
    ref: BoardRef
    broker: MosquittoBroker
    ntp: NtpServer
    wire: Wire
    said: dict[str, bytes] = field(default_factory=dict)

    @property
    def board(self) -> VirtualBoard:
        assert self.ref.virtual is not None
        return self.ref.virtual

    def keyfob(self, *words: str, status: int = 0, **environment: str) -> None:
        run = subprocess.run(
            [sys.executable, "-m", "keyfob_host", *words],
            env={**os.environ, "KEYFOB_HOME": str(self.board.home.root), **environment},
            cwd=self.folder, stdin=subprocess.DEVNULL, capture_output=True, timeout=120,
            check=False,
        )  # fmt: skip
        self.said[f"{len(self.said)} {' '.join(words)}"] = run.stdout + run.stderr
        assert run.returncode == status, (words, run.stdout, run.stderr)

    def provision(self, password: str, *flags: str) -> None:
        """``password``: of the access point; "": as it is on the board."""
        # As a real board, since only that has a port that can be recorded.
        wifi = ("--wifi-ssid", "keyfob-bench", "--wifi-password-env", "THE_PASSWORD")
        self.keyfob(
            *flags, "provision", "--board", "esp32", "--port", self.wire.url, "--no-reset",
            "--identity", DEVICE_ID, "--broker", f"{NAME}:{self.broker.port}",
            "--ntp", f"ntp.keyfob.test:{self.ntp.port}", *(wifi if password else ()),
            THE_PASSWORD=password,
        )  # fmt: skip

    def restart_until(self, text: str) -> None:
        start = len(log(self.board))
        self.board.reset()
        wait_until(lambda: text in log(self.board)[start:], lambda: log(self.board)[start:])


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    authority = Authority.ephemeral(common_name="Bench CA")
    (tmp_path / "ca.pem").write_bytes(authority.cert_pem())
    authority.issue_broker(NAME).write(tmp_path / "id" / NAME)
    authority.issue_host().write(tmp_path / "id" / "keyfob-host")
    with (
        MosquittoBroker(
            tmp_path / "broker", identity_dir=tmp_path / "id" / NAME,
            ca_pem_path=tmp_path / "ca.pem", host_identity_dir=tmp_path / "id" / "keyfob-host",
        ) as broker,
        NtpServer() as ntp,
        powered_board(tmp_path) as ref,
    ):  # fmt: skip
        assert ref.virtual is not None
        authority.issue_device(DEVICE_ID).write(ref.virtual.home.certs_dir / "device" / DEVICE_ID)
        sync_board(ref, reset=False)
        wire = Wire(ref.virtual)
        yield Rig(tmp_path, ref, broker, ntp, wire)
        wire.close()


def live(rig: Rig) -> None:
    """All that a key may come by."""
    rig.provision(PASSWORD, "--debug")
    rig.restart_until('"code":"wifi.wrong-password"')
    rig.provision("")
    settings = json.loads(board_files(rig.ref)["/keyfob.json"])
    assert settings["wifi"]["password"] == PASSWORD
    rig.provision(BENCH_PASSWORD, "--json", "--debug")
    rig.restart_until('"ev":"mqtt.up"')
    rig.broker.stop()
    wait_until(lambda: '"ev":"mqtt.down"' in log(rig.board))
    rig.broker.start()
    rig.keyfob("monitor", "--reset", "--until", "mqtt.up", "--for", "20")
    rig.keyfob("--json", "monitor", "--reset", "--until", "mqtt.up", "--for", "20")
    with SerialConsole(rig.board) as console:
        for line in ("certs", "wifi", "date", "errors store.key-mismatch", "mqtt status"):
            rig.said[line] = console.run(f"from keyfob import shell; shell.start({line!r})")
        console.run(DAMAGE)
        for code in ("store.load('another')", "store.load_slot('sensor-01', slot)"):
            console.send(f"{code}\r".encode())
            rig.said[code] = console.read_until(b"KeyfobError: ") + console.read_until(b">>> ")
    rig.restart_until('"ev":"store.fallback"')
    # The command refuses that as well, and with a traceback.
    rig.keyfob("--debug", "provision", "--identity", DEVICE_ID, "--set", "no.thing=1", status=2)


def searched(rig: Rig, arguments: Arguments) -> dict[str, bytes]:
    """What must not have a trace of a secret, by its name."""
    found = dict(rig.said)
    found["typed"], found["printed"] = bytes(rig.wire.typed), bytes(rig.wire.said)
    found["arguments"] = b"\n".join(arguments.seen)
    for path in rig.folder.rglob("*"):
        if path.is_file() and not path.is_symlink() and not belongs(path):
            found[str(path.relative_to(rig.folder))] = path.read_bytes()
    return found


def belongs(path: Path) -> bool:
    """Whether a key is meant to be there."""
    return path.name == "flash.bin" or path.parent.parts[-2:] == ("device", DEVICE_ID)


def check(rig: Rig, arguments: Arguments, own: bytes) -> dict[str, bytes]:
    """Nothing has a trace of a secret; all that was searched."""
    keys = [scalar(content) for path, content in board_files(rig.ref).items() if "key.der" in path]
    secrets: dict[str, bytes] = {}
    for number, key in enumerate({own, *keys}):
        secrets |= {f"key {number} {name}": form for name, form in forms(key).items()}
    secrets |= {f"password {name}": form for name, form in forms(PASSWORD.encode()).items()}
    secrets["password"] = PASSWORD.encode()
    # They are found where they belong, so the search finds what there is to find.
    pem = rig.board.home.certs_dir / "device" / DEVICE_ID / "key.pem"
    assert traces(secrets, pem.read_bytes().replace(b"\n", b""))
    assert traces(secrets, Path(rig.board.info()["flash"]).read_bytes())
    # Once for each time that the board was provisioned through the wire.
    uploads = rig.wire.uploads()
    assert sum(own in content for content in uploads) == 3
    assert sum(PASSWORD.encode() in content for content in uploads) == 1
    everything = searched(rig, arguments)
    assert any(b"provision" in words for words in arguments.seen)
    assert any(name.endswith("console.log") for name in everything)
    found = {name: traces(secrets, content) for name, content in everything.items()}
    assert {name: names for name, names in found.items() if names} == {}
    return everything


def test_the_key_and_the_password_are_nowhere_but_where_they_belong(rig: Rig) -> None:
    with Arguments() as arguments:
        live(rig)
    check(rig, arguments, scalar(board_files(rig.ref)["/id/a/key.der"]))


@pytest.mark.slow
def test_a_suites_report_has_neither(rig: Rig) -> None:
    (rig.folder / "test_story.py").write_text(SUITE)
    with Arguments() as arguments:
        live(rig)
        own = scalar(board_files(rig.ref)["/id/a/key.der"])
        rig.keyfob(
            "hil", "run", "--board", KIND, "--name", rig.board.name, "test_story.py", status=8
        )
    everything = check(rig, arguments, own)
    assert any("reports" in name and name.endswith(".xml") for name in everything)
    assert any(b"test_fails" in content and b"never" in content for content in rig.said.values())
