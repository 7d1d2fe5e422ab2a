"""The firmware itself under the unix MicroPython, and a mosquitto configured line by line.

`keyfob_host.broker` refuses to run a broker with most of the faults that these tests
need, so mosquitto is configured here.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from queue import Empty, Queue

from certificates import CLIENT_AUTH, Pair, make_leaf

HERE = Path(__file__).resolve().parent
FIRMWARE = HERE.parent.parent / "firmware"
MICROPYTHON = Path(sys.executable).with_name("micropython")
DEVICE_ID = "sensor-01"
EVENT_LIMIT_S = 20.0


_OPENSSL_SETTINGS = """\
openssl_conf = all
[all]
ssl_conf = tls
[tls]
system_default = every_context
[every_context]
Options = {}
"""


class Mosquitto:
    """One listener on a free port of the loopback interface. ``openssl_options``: what
    OpenSSL's own file of settings names `Options` (SSL_CONF_cmd(3)), for mosquitto has no
    lines for it."""

    def __init__(
        self, folder: Path, lines: list[str], port: int = 0, *, openssl_options: str = ""
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            self.port = probe.getsockname()[1]
        self._log = folder / "mosquitto.log"
        config = [f"listener {self.port} 127.0.0.1", "log_type all", "user root", *lines]
        (folder / "mosquitto.conf").write_text("\n".join(config) + "\n")
        environment = dict(os.environ)
        if openssl_options:
            settings = folder / "openssl.cnf"
            settings.write_text(_OPENSSL_SETTINGS.format(openssl_options))
            environment["OPENSSL_CONF"] = str(settings)
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                ["mosquitto", "-c", str(folder / "mosquitto.conf")],
                stdout=log, stderr=log, env=environment,
            )  # fmt: skip
        deadline = time.monotonic() + 10
        while " running" not in self.log():
            assert self._process.poll() is None and time.monotonic() < deadline, self.log()
            time.sleep(0.01)

    def log(self) -> str:
        return self._log.read_text("utf-8", "replace")

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()

    def __enter__(self) -> Mosquitto:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def mutual_tls(folder: Path, server: Pair, client_ca: Pair, *more: str) -> list[str]:
    """Configuration lines: show ``server``, want a certificate of ``client_ca``."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "chain.pem").write_bytes(server.chain_pem())
    (folder / "key.pem").write_bytes(server.key_pem())
    (folder / "ca.pem").write_bytes(client_ca.chain_pem())
    return [
        f"cafile {folder}/ca.pem",
        f"certfile {folder}/chain.pem",
        f"keyfile {folder}/key.pem",
        "require_certificate true",
        "allow_anonymous true",
        *(more or ("use_identity_as_username true",)),
    ]


class Board:
    """A folder that becomes the board's flash, and the process that runs from it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        shutil.copytree(FIRMWARE, folder, ignore=shutil.ignore_patterns("__pycache__"))
        self._process: subprocess.Popen[str] | None = None
        self._lines: Queue[str] = Queue()
        self.console: list[str] = []

    def settle(self, host: str, port: int, ntp_port: int, **broker: object) -> None:
        """Write the settings."""
        self.write_settings(
            {
                "device_id": DEVICE_ID,
                "wifi": {"ssid": "bench", "password": "bench"},
                "ntp": {"servers": [f"127.0.0.1:{ntp_port}"]},
                "broker": {"host": host, "port": port, "keepalive_s": 5, **broker},
                "app": {"name": "sensor", "period_s": 1},
            }
        )

    def write_settings(self, settings: dict[str, object]) -> None:
        (self.folder / "keyfob.json").write_text(json.dumps(settings))

    def provision(self, anchors: list[Pair], device: Pair | None = None, **replace: bytes) -> None:
        """Write slot a. ``replace``: other bytes for a file, by its stem (``ca=b""``)."""
        device = device or make_leaf(anchors[0], DEVICE_ID, usage=CLIENT_AUTH)
        files = {f"ca{n or ''}.der": pair.der for n, pair in enumerate(anchors)}
        files |= {f"cert{n or ''}.der": der for n, der in enumerate((device.der, *device.issuers))}
        files["key.der"] = device.key_der()
        files |= {f"{stem}.der": content for stem, content in replace.items()}
        slot = self.folder / "id" / "a"
        slot.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            (slot / name).write_bytes(content)
        hashes = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
        manifest = {"device_id": DEVICE_ID, "created_s": 0, "files": hashes}
        (slot / "manifest.json").write_text(json.dumps(manifest))
        (self.folder / "id" / "active").write_text("a")

    def edit(self, module: str, old: str, new: str) -> None:
        """Change the board's copy of a source, for instance to shorten a time limit."""
        path = self.folder / module
        text = path.read_text()
        assert old in text, f"{module} has no {old!r}"
        path.write_text(text.replace(old, new))

    def power_on(self) -> None:
        command = [
            str(MICROPYTHON),
            str(HERE / "run_firmware.py"),
            str(HERE / "shims"),
            str(self.folder),
        ]
        self._process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        self._pump_thread = threading.Thread(target=self._pump, args=(self._process,), daemon=True)
        self._pump_thread.start()

    def _pump(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout
        for line in process.stdout:
            self._lines.put(line.rstrip("\n"))

    def power_off(self) -> None:
        if self._process:
            self._process.kill()
            self._process.wait()
            self._process = None

    def interrupt(self) -> int:
        """Ctrl-C while it waits; the exit status.

        This MicroPython raises KeyboardInterrupt right out of the signal's handler, also in
        the middle of collecting garbage, and then its heap stays locked.
        """
        assert self._process
        state = Path(f"/proc/{self._process.pid}/stat")
        while state.exists() and state.read_text().rpartition(")")[2].split()[0] != "S":
            time.sleep(0.001)
        self._process.send_signal(signal.SIGINT)
        status = self._process.wait(5)
        self._pump_thread.join(5)
        while not self._lines.empty():
            self.console.append(self._lines.get())
        return status

    def wait_for(self, *names: str, limit_s: float = EVENT_LIMIT_S) -> dict:
        """The next event whose name is one of ``names``."""
        deadline = time.monotonic() + limit_s
        while True:
            try:
                line = self._lines.get(timeout=max(0.01, deadline - time.monotonic()))
            except Empty:
                console = "\n".join(self.console)
                raise AssertionError(f"none of {names} within {limit_s} s:\n{console}") from None
            self.console.append(line)
            if line.startswith("kf "):
                event = json.loads(line[3:])
                if event["ev"] in names:
                    return event

    def outcome(self) -> tuple[str, str]:
        """Power on; ("mqtt.up", "") or (code, detail) of the first error."""
        self.power_on()
        event = self.wait_for("mqtt.up", "error")
        self.power_off()
        return event.get("code", "mqtt.up"), event.get("detail", "")

    def events(self, name: str) -> list[dict]:
        """The events of that name seen so far."""
        lines = [json.loads(line[3:]) for line in self.console if line.startswith("kf ")]
        return [event for event in lines if event["ev"] == name]

    def __enter__(self) -> Board:
        return self

    def __exit__(self, *_: object) -> None:
        self.power_off()
