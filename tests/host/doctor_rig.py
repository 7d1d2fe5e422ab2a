"""A bench of files for the doctor: a real mosquitto, its configuration and its log in one folder.

Certificates are made with `cryptography` and by hand (`certificates` of the bench's tests),
whole or broken in one place; the boards are clients of Python's ssl and ``openssl s_client``,
each told its own clock, anchors and certificate.
"""

from __future__ import annotations

import importlib.util
import os
import socket
import ssl
import subprocess
import sys
import time
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

BENCH = Path(__file__).parent.parent / "bench"
if str(BENCH) not in sys.path:
    sys.path.append(str(BENCH))

from certificates import (  # noqa: E402
    CLIENT_AUTH,
    DAY,
    NOW,
    SERVER_AUTH,
    Pair,
    make_ca,
    make_leaf,
)
from cryptography import x509  # noqa: E402
from cryptography.hazmat.primitives import hashes, serialization  # noqa: E402

from keyfob_host.broker_failures import find_mosquitto  # noqa: E402
from keyfob_host.broker_probe import connect_packet  # noqa: E402
from keyfob_host.doctor.offline.examining import Examination, examine  # noqa: E402

__all__ = [
    "CLIENT_AUTH", "DAY", "NAME", "NOW", "SERVER_AUTH", "Folder", "crl", "make_ca",
    "make_leaf",
]  # fmt: skip
NAME = "broker.keyfob.test"
STAMPS = {
    "epoch": [],
    "iso": ["log_timestamp_format %Y-%m-%dT%H:%M:%SZ"],
    "none": ["log_timestamp false"],
}
TLS12 = ssl.TLSVersion.TLSv1_2


def crl(ca: Pair, *revoked: Pair, ends: timedelta = DAY) -> bytes:
    """A revocation list of ``ca`` in PEM."""
    builder = x509.CertificateRevocationListBuilder().issuer_name(ca.subject)
    builder = builder.last_update(NOW - 9 * DAY).next_update(NOW + ends)
    for pair in revoked:
        serial = x509.load_der_x509_certificate(pair.der).serial_number
        entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(NOW - DAY)
        builder = builder.add_revoked_certificate(entry.build())
    return builder.sign(ca.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def faketime() -> Path:
    """libfaketime's library, found without importing its package, which would start us again."""
    spec = importlib.util.find_spec("libfaketime")
    assert spec is not None and spec.origin is not None
    (found,) = Path(spec.origin).parent.rglob("libfaketime.so.1")
    return found


class Folder:
    """``ca``, ``broker``, ``device`` (None: none is at hand): pairs, changed before `run`."""

    def __init__(self, path: Path, stamps: str = "iso") -> None:
        self.path = path
        path.mkdir(parents=True, exist_ok=True)
        self.ca = make_ca()
        self.broker = make_leaf(self.ca, "broker", (NAME, "127.0.0.1"))
        self.device: Pair | None = make_leaf(self.ca, "sensor-01", usage=CLIENT_AUTH)
        self.anchors: Pair | None = None  # of the board, if not the broker's
        self.cafile: bytes | None = None
        self.crl: bytes | None = None
        self.tls = True
        self.user = ["use_identity_as_username true"]
        self.more: list[str] = []
        self.clock: datetime | None = None
        self.port = 0
        self._stamps = STAMPS[stamps]

    def write(self, name: str, content: bytes | str, mode: int = 0o644) -> Path:
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        path.chmod(mode)
        return path

    def write_all(self) -> None:
        """Everything but the log."""
        self.write("ca.crt", self.cafile or self.ca.chain_pem())
        self.write("server.crt", self.broker.chain_pem())
        self.write("server.key", self.broker.key_pem(), 0o600)
        if self.device is not None:
            anchors = self.anchors or self.ca
            own = self.device.chain_pem()
            self.write("device/sensor-01/cert.pem", own)
            self.write("device/sensor-01/chain.pem", own)
            self.write("device/sensor-01/key.pem", self.device.key_pem(), 0o600)
            self.write("device/sensor-01/ca.pem", anchors.chain_pem())
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        lines = [f"listener {self.port} 127.0.0.1"]
        if self.tls:
            lines += [
                f"cafile {self.path}/ca.crt", f"certfile {self.path}/server.crt",
                f"keyfile {self.path}/server.key", "require_certificate true", *self.user,
            ]  # fmt: skip
        if self.crl is not None:
            lines.append(f"crlfile {self.write('ca.crl', self.crl)}")
        lines += ["allow_anonymous false" if self.tls else "allow_anonymous true"]
        lines += ["log_type all", *self._stamps, *self.more]
        if os.getuid() == 0:
            lines.append("user root")
        self.write("mosquitto.conf", "\n".join(lines) + "\n")

    def log(self) -> str:
        return (self.path / "mosquitto.log").read_text("utf-8", "replace")

    @contextmanager
    def run(self) -> Any:
        """mosquitto runs, and goes."""
        self.write_all()
        process = self._start()
        try:
            self.wait_for(" running", process)
            yield self
        finally:
            process.terminate()
            process.wait(20)

    def fail_to_run(self) -> None:
        """mosquitto starts and ends at once."""
        self.write_all()
        assert self._start().wait(20) != 0, self.log()

    def _start(self) -> subprocess.Popen[bytes]:
        environment = {**os.environ, "TZ": "UTC"}
        if self.clock is not None:
            environment["LD_PRELOAD"] = str(faketime())
            environment["FAKETIME"] = f"@{self.clock:%Y-%m-%d %H:%M:%S}"
            environment["FAKETIME_DONT_FAKE_MONOTONIC"] = "1"
        with (self.path / "mosquitto.log").open("wb") as log:
            return subprocess.Popen(
                [find_mosquitto(), "-c", str(self.path / "mosquitto.conf")],
                stdout=log, stderr=log, env=environment,
            )  # fmt: skip

    def wait_for(self, text: str, process: subprocess.Popen[bytes] | None = None) -> None:
        deadline = time.monotonic() + 20
        while text not in self.log():
            assert time.monotonic() < deadline, f"not in the log: {text!r}\n{self.log()}"
            assert process is None or process.poll() is None, self.log()
            time.sleep(0.01)

    # What boards do

    def context(self, *, trusts: Pair | None = None, shows: Pair | None = None) -> ssl.SSLContext:
        """``shows``: with a key of its own; without it none is shown."""
        made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        made.maximum_version = TLS12  # as boards have it
        made.load_verify_locations(cadata=(trusts or self.anchors or self.ca).der)
        if shows is not None:
            chain = self.path.parent / "shown.pem"
            chain.write_bytes(shows.chain_pem() + shows.key_pem())
            made.load_cert_chain(chain)
            chain.unlink()
        return made

    def open(self, made: ssl.SSLContext, name: str = NAME) -> ssl.SSLSocket:
        plain = socket.create_connection(("127.0.0.1", self.port), 10)
        try:
            return made.wrap_socket(plain, server_hostname=name)
        except BaseException:
            plain.close()
            raise

    def connect(
        self, made: ssl.SSLContext | None = None, name: str = NAME, client: str = "sensor-01"
    ) -> str:
        """Once, to the CONNACK; what came of it."""
        made = made or self.context(shows=self.device)
        try:
            with self.open(made, name) as link:
                link.sendall(connect_packet(client))
                return link.recv(4).hex()
        except OSError as error:
            return f"{type(error).__name__}: {error}"

    def examine(self, *more: Path, **how: Any) -> Examination:
        """What the doctor says of the folder (the moment is now)."""
        return examine([self.path, *more], how.pop("at", datetime.now(NOW.tzinfo)), **how)
