"""The bench's broker: mosquitto with mutual TLS, and an ACL that keeps devices apart.

Clients are who their certificate's common name says. A device may write and read only
below ``devices/<its id>/``; the host's own identity may do everything. TLS 1.2 is the
least. The configuration is written anew at each start, and a start is over when a
client was really let in. Bridges, passwords and other brokers are not covered.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import rsa

from keyfob_host import daemon
from keyfob_host.broker_failures import (
    did_not_answer,
    did_not_reload,
    did_not_start,
    find_mosquitto,
)
from keyfob_host.broker_probe import probe
from keyfob_host.daemon import Detached
from keyfob_host.errors import KeyfobHostError, explain_os_error
from keyfob_host.files import write_atomic
from keyfob_host.listeners import free_port, loopback_of
from keyfob_host.pki.identity import Identity, load_certs
from keyfob_host.pki.names import HOST_ID

DEFAULT_PORT = 8883
READY_TIMEOUT_S = 10.0

_CONF = "mosquitto.conf"
_ACL = "acl"
_RECORD = "mosquitto.json"
_POLL_S = 0.02
_FIRST_PROBE_S = 0.25
_PORT_TRIES = 5
# mosquitto's own words on a SIGHUP, and when a certificate, a key or the CRL was no good.
_RELOADS = "Reloading config"
_NOT_RELOADED = "Error when reloading certificate"
_LOG_KEPT_BYTES = 8 << 20

_ACL_TEXT = f"""\
# {HOST_ID} is the host's side; everybody else is a device, and its user name is the
# common name of its certificate.
user {HOST_ID}
topic readwrite #
topic read $SYS/#

pattern readwrite devices/%u/#
"""


class MosquittoBroker:
    """One mosquitto in one folder: configuration, log and record.

    ``identity_dir`` is the broker's own (`pki.identity`), ``ca_pem_path`` what clients'
    certificates are checked against, ``port`` 0 takes a free one (see `port`).
    ``crl_path``: CRLs in PEM that those are held against; None for no revocation at all.
    ``host_identity_dir`` is a client identity that the broker trusts: with it `start`
    waits for a CONNACK; without it for the broker's certificate and its demand for the
    client's. A broker that a killed run left in the same folder is ended first.
    ``options``: lines of mosquitto.conf by their first word, beside those written here or
    in the place of the one that begins so; in force from the next start on.
    """

    LOG = "mosquitto.log"  # in the folder; kept when the broker has ended

    def __init__(
        self,
        folder: Path,
        *,
        identity_dir: Path,
        ca_pem_path: Path,
        port: int = 0,
        host: str = "127.0.0.1",
        acl: bool = True,
        persistence: bool = False,
        host_identity_dir: Path | None = None,
        crl_path: Path | None = None,
    ) -> None:
        # Absolute: mosquitto may be asked about them from another working directory.
        self.folder = folder.absolute()
        self.identity_dir = identity_dir.absolute()
        self.ca_pem_path = ca_pem_path.absolute()
        self.host = host
        self.port = port
        self.acl = acl
        self.persistence = persistence
        self.host_identity_dir = host_identity_dir.absolute() if host_identity_dir else None
        self.crl_path = crl_path.absolute() if crl_path else None
        self.options: dict[str, str] = {}
        self._process: Detached | None = None
        self._log_start: int | None = None

    @classmethod
    def attach(cls, folder: Path) -> MosquittoBroker | None:
        """The broker that runs in ``folder``, whoever started it; None if none does."""
        running = daemon.find(folder.absolute() / _RECORD)
        if running is None:
            return None
        extra = running.extra
        host_identity = extra.get("host_identity_dir")
        crl = extra.get("crl_path")
        broker = cls(
            folder,
            identity_dir=Path(str(extra["identity_dir"])),
            ca_pem_path=Path(str(extra["ca_pem_path"])),
            port=int(str(extra["port"])),
            host=str(extra["host"]),
            acl=bool(extra["acl"]),
            persistence=bool(extra["persistence"]),
            host_identity_dir=Path(str(host_identity)) if host_identity else None,
            crl_path=Path(str(crl)) if crl else None,
        )
        broker._process = running
        broker._log_start = int(str(extra["log_start"]))
        return broker

    @property
    def pid(self) -> int | None:
        """Of the running mosquitto, else None."""
        return self._process.pid if self._process and self._process.alive else None

    @property
    def uptime_s(self) -> float:
        return self._process.uptime_s if self._process and self._process.alive else 0.0

    @property
    def log_path(self) -> Path:
        return self.folder / self.LOG

    def log(self) -> str:
        """What mosquitto wrote since this object's first start, restarts included."""
        return self._read_log(self._log_start or 0)

    def start(self, *, timeout_s: float = READY_TIMEOUT_S) -> MosquittoBroker:
        """Run mosquitto and wait until it lets a client in.

        Errors: ``broker.mosquitto-missing``, ``broker.port-taken``,
        ``broker.port-privileged``, ``broker.bad-address``, ``broker.died``,
        ``broker.no-answer``, those of `probe` and of `Identity.read`. Then nothing
        runs.
        """
        program = find_mosquitto()
        identity = Identity.read(self.identity_dir)
        load_certs(self.ca_pem_path, "the CA certificate")
        self._end_leftover()
        self._prepare_log()
        chosen = self.port == 0
        for attempt in range(1, _PORT_TRIES + 1):
            if chosen:
                self.port = free_port(self.host)
            try:
                self._run(program, identity, timeout_s)
            except KeyfobHostError as error:
                # Somebody took the free port in between: only then is another one tried.
                if error.code != "broker.port-taken" or not chosen or attempt == _PORT_TRIES:
                    raise
            else:
                break
        return self

    def stop(self) -> None:
        """End mosquitto; a second call does nothing."""
        if self._process is not None:
            daemon.stop(self._process)
            self._process = None

    def restart(self) -> None:
        """Stop, and start on the same port. Reads everything anew, ``ca_pem_path`` included."""
        self.stop()
        self.start()

    def reload(self, *, timeout_s: float = READY_TIMEOUT_S) -> None:
        """SIGHUP, then wait until the certificate now in ``identity_dir`` is served.

        mosquitto rereads certificate, key, CRL and ACL, but not the CA file. A key of another
        type (EC or RSA) is added to the one it has, and each client is served the one it
        prefers; so for that it is restarted. Errors: ``broker.not-reloaded``, and as `start`.
        """
        identity = Identity.read(self.identity_dir)
        cert_der = identity.cert_der()
        if self._process is None or self.pid is None:
            self.start(timeout_s=timeout_s)
            return
        if self._process.extra.get("key_type") != _key_type(identity):
            self.stop()
            self.start(timeout_s=timeout_s)
            return
        seen = self.log_path.stat().st_size
        os.kill(self._process.pid, signal.SIGHUP)
        self._wait(self._process, cert_der, seen, timeout_s, said=_RELOADS)
        log = self._read_log(seen)
        if _NOT_RELOADED in log:
            raise did_not_reload(log)

    def __enter__(self) -> MosquittoBroker:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _run(self, program: str, identity: Identity, timeout_s: float) -> None:
        """Start once on `port` and wait; on any failure, Ctrl-C included, nothing runs."""
        conf = self.folder / _CONF
        write_atomic(self.folder / _ACL, _ACL_TEXT, mode=0o600)
        write_atomic(conf, self._configuration(), mode=0o600)
        log_start = self.log_path.stat().st_size
        if self._log_start is None:
            self._log_start = log_start
        process = daemon.spawn(
            [program, "-c", str(conf)],
            record=self.folder / _RECORD,
            log=self.log_path,
            environment={"TZ": "UTC"},  # the log's times end in Z
            extra={
                "identity_dir": str(self.identity_dir),
                "ca_pem_path": str(self.ca_pem_path),
                "host": self.host,
                "port": self.port,
                "acl": self.acl,
                "persistence": self.persistence,
                "host_identity_dir": str(self.host_identity_dir or ""),
                "crl_path": str(self.crl_path or ""),
                "log_start": self._log_start,
                "key_type": _key_type(identity),
            },
        )
        with _ended_on_failure(process):
            self._wait(process, identity.cert_der(), log_start, timeout_s)
            self._process = process

    def _wait(
        self, process: Detached, cert_der: bytes, log_start: int, timeout_s: float, said: str = ""
    ) -> None:
        deadline = time.monotonic() + timeout_s
        address = loopback_of(self.host)
        patience_s = _FIRST_PROBE_S
        while True:
            if not process.alive:
                log = self._read_log(log_start)
                raise did_not_start(log, self.host, self.port, self.folder)
            # It has one thread: who connects after these words meets what was reread.
            has_said = said in self._read_log(log_start)
            try:
                probe(address, self.port, cert_der, self.host_identity_dir, timeout_s=patience_s)
                if has_said:
                    return
                why = f"it has not said {said!r} yet"
            except OSError as error:  # not listening yet
                why = str(error)
            except KeyfobHostError as error:
                # Right after a SIGHUP the old certificate is still served.
                if error.code != "broker.other-certificate":
                    raise
                why = error.cause
            if time.monotonic() > deadline:
                log = self._read_log(log_start)
                raise did_not_answer(log, self.host, self.port, timeout_s, why)
            # Another program may hold the port and say nothing, while mosquitto is long
            # dead of it; a busy machine on the other hand needs more than the first try.
            patience_s = min(2 * patience_s, timeout_s)
            time.sleep(_POLL_S)

    def _configuration(self) -> str:
        identity = self.identity_dir
        lines = [
            "# Written by keyfob at each start; changes are lost.",
            "per_listener_settings false",
            f"listener {self.port} {self.host}",
            f"cafile {self.ca_pem_path}",
            f"certfile {identity / 'chain.pem'}",
            f"keyfile {identity / 'key.pem'}",
            "require_certificate true",
            "use_identity_as_username true",
            "allow_anonymous false",
            "tls_version tlsv1.2",
            # A PUBACK must not wait for the board's delayed acknowledgement.
            "set_tcp_nodelay true",
            "log_dest stderr",
            "log_type all",
            "connection_messages true",
            "log_timestamp true",
            "log_timestamp_format %Y-%m-%dT%H:%M:%SZ",
            f"persistence {'true' if self.persistence else 'false'}",
        ]
        if self.crl_path:
            lines.append(f"crlfile {self.crl_path}")
        if self.persistence:
            lines.append(f"persistence_location {self.folder}/")
        if self.acl:
            lines.append(f"acl_file {self.folder / _ACL}")
        if os.getuid() == 0:
            # Else it drops to a user of its own, who cannot read keys of mode 0600.
            lines.append("user root")
        lines = [line for line in lines if line.partition(" ")[0] not in self.options]
        lines += [f"{name} {value}" for name, value in self.options.items()]
        return "\n".join(lines) + "\n"

    def _end_leftover(self) -> None:
        leftover = daemon.find(self.folder / _RECORD)
        if leftover is not None:
            daemon.stop(leftover)

    def _prepare_log(self) -> None:
        with explain_os_error(self.log_path, "write the broker's log"):
            self.folder.mkdir(parents=True, exist_ok=True)
            if self.log_path.exists() and self.log_path.stat().st_size > _LOG_KEPT_BYTES:
                self.log_path.replace(self.log_path.with_suffix(".log.1"))
                self._log_start = None
            self.log_path.touch(mode=0o600)

    def _read_log(self, start: int) -> str:
        try:
            with self.log_path.open("rb") as file:
                file.seek(start)
                return file.read().decode("utf-8", "replace")
        except FileNotFoundError:
            return ""


def _key_type(identity: Identity) -> str:
    return "rsa" if isinstance(identity.key, rsa.RSAPrivateKey) else "ec"


@contextmanager
def _ended_on_failure(process: Detached) -> Iterator[None]:
    try:
        yield
    except BaseException:
        daemon.stop(process)
        raise
