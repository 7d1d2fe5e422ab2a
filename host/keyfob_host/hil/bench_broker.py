"""The suite's broker: real mosquitto, the certificate it shows, and the link before it.

Boards reach it through a relay whose port never changes, so that faults of the link and
restarts of mosquitto need no new settings on the board. mosquitto itself listens on the
loopback only.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from cryptography import x509

from keyfob_host.broker import MosquittoBroker
from keyfob_host.doctor.tap import Tap
from keyfob_host.errors import ExitStatus, KeyfobHostError
from keyfob_host.files import write_atomic
from keyfob_host.hil.bench_ca import BenchCa
from keyfob_host.hil.evidence import Evidence
from keyfob_host.mqtt_host import HostClient
from keyfob_host.pki.authority import Authority
from keyfob_host.pki.crl import crls_pem
from keyfob_host.pki.identity import Identity
from keyfob_host.pki.names import HOST_ID

_POLL_S = 0.02
_COME_AND_GO = re.compile(
    r"^\S+ (?:New client connected from \S+ as (.+) \(p\d+, |Client (\S+) (?!already ))",
    re.MULTILINE,
)
_OF_HOST = ("keyfob-probe", HOST_ID)
_STARTS = " starting\n"  # the end of mosquitto's first line


class BenchBroker:
    """Start with `start`, end with `stop_all`; `restore` makes it as a story expects it.

    ``host`` is the name or address that boards verify, ``address`` this machine's one
    that they connect to, at ``port`` (0: a free one, see `port`). ``evidence`` is what a
    failed wait shows. ``acl``: each client keeps to the topics below ``devices/<its name>/``.
    """

    def __init__(
        self,
        folder: Path,
        ca: BenchCa,
        host: str,
        address: str,
        evidence: Evidence,
        *,
        port: int = 0,
        acl: bool = True,
    ) -> None:
        self.host = host
        self.address = address
        self._ca = ca
        self._evidence = evidence
        self._own = ca.authority.issue_broker(host, [host])
        self._shown = self._own
        self._identity_dir = self._own.write(folder / "identity", force=True)
        self._mosquitto = MosquittoBroker(
            folder,
            identity_dir=self._identity_dir,
            ca_pem_path=ca.ca_pem,
            host_identity_dir=ca.host_identity,
            acl=acl,
        )
        self.tap = Tap(("127.0.0.1", 0), address, port)
        self.relay = self.tap.relay
        self._crls_path = folder / "crls.pem"
        self._is_configured = False
        self._mark = 0

    @property
    def port(self) -> int:
        """The port that boards connect to."""
        return self.relay.port

    # -- life

    def start_all(self) -> BenchBroker:
        """Start mosquitto and the relay. Errors: ``broker.*``, ``hil.bad-address``,
        ``hil.port-taken``."""
        self._mosquitto.start()
        self.relay.target = ("127.0.0.1", self._mosquitto.port)
        try:
            self.tap.start()
        except KeyfobHostError as error:
            raise _cannot_listen(error) from error
        return self

    def stop_all(self) -> None:
        """End both; harmless twice."""
        self.tap.stop()
        self._mosquitto.stop()

    def restore(self) -> None:
        """Running, with its own certificate and CA, and a link without faults; a new log begins."""
        self.relay.clear()
        self.answer(self._mosquitto.port)
        if self._ca.is_widened:
            self.trust(self._ca.authority)
        if self._is_configured:
            self.configure()
        if self._mosquitto.pid is None:
            self._mosquitto.start()
        if self._shown is not self._own:
            self.show(self._own)
        self.mark()

    # -- what a story does to it

    def stop(self) -> None:
        """End mosquitto: boards are cut off and find nobody."""
        self._mosquitto.stop()

    def start(self) -> None:
        """Run mosquitto again, after `stop`."""
        self._mosquitto.start()

    def restart(self) -> None:
        """End mosquitto and run it again on its port."""
        self._mosquitto.restart()

    def show(self, identity: Identity) -> None:
        """Serve ``identity`` from now on; returns once it is served. Live connections may end."""
        identity.write(self._identity_dir, force=True)
        self._shown = identity
        self._mosquitto.reload()

    def configure(
        self,
        options: Mapping[str, str] | None = None,
        crls: Sequence[x509.CertificateRevocationList] = (),
    ) -> None:
        """Run it with these lines of mosquitto.conf (``{"tls_version": "tlsv1.3"}``) and these
        CRLs, instead of any that it had; it restarts."""
        mosquitto = self._mosquitto
        mosquitto.options = dict(options or {})
        mosquitto.crl_path, mosquitto.host_identity_dir = None, self._ca.host_identity
        if crls:
            write_atomic(self._crls_path, crls_pem(crls))
            # It may be meant to let in nobody, the host neither.
            mosquitto.crl_path, mosquitto.host_identity_dir = self._crls_path.absolute(), None
        self._is_configured = bool(options or crls)
        self.restart()

    def answer(self, port: int) -> None:
        """Who takes the board's next connections: what listens on ``port`` of the loopback."""
        self.relay.target = ("127.0.0.1", port)

    def trust(self, *authorities: Authority) -> None:
        """Take boards of these alone, and let the host take their brokers; it restarts."""
        self._ca.trust(*authorities)
        self.restart()

    @contextmanager
    def client(self) -> Iterator[HostClient]:
        """A connected client of the host, subscribed to every device's topics.

        It goes past the relay, so that a fault of the board's link never blinds it.
        """
        with HostClient(
            "127.0.0.1",
            self._mosquitto.port,
            self._ca.host_identity,
            self._ca.ca_pem,
            self._own.name,
        ) as client:
            client.subscribe("devices/#")
            yield client

    # -- what it saw

    def mark(self) -> None:
        """From here on `log` tells only what comes."""
        self._mark = len(self._mosquitto.log())

    def log(self) -> str:
        """mosquitto's log since the last `mark`; a story begins with one."""
        return self._mosquitto.log()[self._mark :]

    def said_in_clear(self) -> bytes:
        """What the board's last connection said of its handshake before it was encrypted.

        Without the headers of the records: an engine cuts messages into those as it likes.
        """
        return bytes(self.tap.connections[-1].clear["board"])

    def wait_subscribed(self, client_id: str) -> None:
        """Wait until ``client_id`` has a subscription: before that, a message to it is lost.

        A session outlives connections, so this looks back to mosquitto's last start.
        """
        __tracebackhide__ = True
        self.wait_log(f"Sending SUBACK to {client_id}$", text=self._since_start)

    def clients(self) -> set[str]:
        """Who is connected now, by mosquitto's log; of the host's own nobody."""
        found: set[str] = set()
        for joined, gone in _COME_AND_GO.findall(self._since_start()):
            found -= {gone}
            found |= {joined} if joined and not joined.startswith(_OF_HOST) else set()
        return found

    def _since_start(self) -> str:
        return self._mosquitto.log().rpartition(_STARTS)[2]

    def wait_log(
        self, pattern: str, timeout_s: float = 10, *, text: Callable[[], str] | None = None
    ) -> re.Match[str]:
        """Wait until the regular expression ``pattern`` is found in `log` (or in ``text()``)."""
        __tracebackhide__ = True
        end = time.monotonic() + timeout_s
        while True:
            found = re.search(pattern, (text or self.log)(), re.MULTILINE)
            if found:
                return found
            if time.monotonic() > end:
                raise self._evidence.failure(
                    f"the broker's log did not show {pattern!r} within {timeout_s:g} s"
                )
            time.sleep(_POLL_S)


def _cannot_listen(error: KeyfobHostError) -> KeyfobHostError:
    """``error`` of the tap's, with the way out of ``keyfob hil run``."""
    if error.code == "tap.bad-address":
        return KeyfobHostError(
            "hil.bad-address",
            "the bench's broker cannot listen on this address: it is not one of this machine's",
            evidence=error.evidence,
            fix="ip -brief address; keyfob hil run … --bench-address 192.0.2.10",
            status=ExitStatus.HOST,
        )
    if error.code in ("tap.port-taken", "tap.port-privileged"):
        return KeyfobHostError(
            "hil.port-taken",
            "the bench's broker cannot have its port: another has it, or it is root's alone",
            evidence=error.evidence,
            fix="keyfob broker down; or another port: keyfob hil run … --bench-port 8884",
            status=ExitStatus.HOST,
        )
    return error
