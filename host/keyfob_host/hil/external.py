"""A bench for a device of any make that speaks MQTT over TLS: no board of Keyfob's on it.

There is the broker, at the address and port that the device has in its settings, and the
bench's own CA, which signs the broker's certificates because the device trusts it already.
What is signed for a run is good for a day, except where a case wants other dates. There is
no serial line, no power switch and no time server: cases that need those are skipped.
Whether the device's certificate was revoked is not looked at.
"""

from __future__ import annotations

import ipaddress
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any

from keyfob_host.broker import DEFAULT_PORT, MosquittoBroker
from keyfob_host.errors import ExitStatus, KeyfobHostError
from keyfob_host.hil.arrival import Arrival
from keyfob_host.hil.bench_broker import BenchBroker
from keyfob_host.hil.bench_ca import BenchCa
from keyfob_host.hil.capabilities import BROKER
from keyfob_host.hil.evidence import Evidence
from keyfob_host.hil.interrupts import interrupts_deferred, interrupts_unwrapped
from keyfob_host.hil.lock import board_lock
from keyfob_host.home import Home
from keyfob_host.pki.authority import CERT_FILE, Authority
from keyfob_host.pki.identity import KEY_FILE

KIND = "external"
DEFAULT_WAIT_S = 300
_EXAMPLE = "ip -brief address; keyfob hil run advisor --device external --bench-address 192.0.2.10"
_POLL_S = 0.05
_BACK_S, _GONE_S = 150.0, 1.0  # a device that was refused may back off for minutes
_DAYS = 1  # a run's certificates outlive it by no more
_ANY = ("0.0.0.0", "::")  # noqa: S104 - refused


@dataclass(frozen=True)
class ExternalOptions:
    """What a run was asked for, complete. Make it with `resolve`.

    ``address`` is what the device connects to and verifies, ``listen_host`` the same as an
    address of this machine's. ``client_id``: the device's, None for whichever connects.
    ``wait_s``: how long it may take to come at first.
    """

    home: Home
    address: str
    listen_host: str
    port: int
    client_id: str | None
    wait_s: float
    authority: Authority

    kind = KIND
    chip = None
    is_own = False

    @classmethod
    def resolve(
        cls,
        home: Home,
        unlock: Callable[[], Authority],
        *,
        address: str | None,
        port: int = DEFAULT_PORT,
        client_id: str | None = None,
        wait_s: float = DEFAULT_WAIT_S,
    ) -> ExternalOptions:
        """``unlock`` gives the bench's CA, and is called when all else is good. Errors:
        ``hil.no-address``, ``hil.bad-address``, and those of ``unlock``."""
        if address is None:
            raise KeyfobHostError(
                "hil.no-address",
                "the device must be told this machine's address, and the broker's certificate "
                "is for that one",
                fix=_EXAMPLE,
                status=ExitStatus.USAGE,
            )
        return cls(home, address, _listen_host(address), port, client_id, wait_s, unlock())

    @property
    def name(self) -> str:
        """What a report calls it, before it has said its own name."""
        return self.client_id or KIND

    def capabilities(self) -> frozenset[str]:
        """What can be done to it, of `keyfob_host.hil.capabilities`."""
        return frozenset({BROKER})

    def told(self) -> dict[str, Any]:
        """Of the device, for a report: a board of `keyfob_host.hil.report.data`."""
        place = f"[{self.address}]" if ":" in self.address else self.address
        return {
            "name": self.name, "kind": KIND, "title": "a device of any make",
            "place": f"at {place}:{self.port}", "chip": None,
            "firmware": None, "micropython": None, "error": None,
        }  # fmt: skip


class ExternalBench:
    """`start` brings it up, or raises `KeyfobHostError` and leaves nothing; `stop` ends it.

    ``tell`` is given the lines that a person connects the device by.
    """

    ca: BenchCa
    broker: BenchBroker

    def __init__(self, options: ExternalOptions, tell: Callable[[str], None]) -> None:
        self.options = options
        self.evidence = Evidence()
        self.client_id: str | None = None  # of the device that came
        self.filters: list[str] = []  # what it subscribed to then
        self._tell = tell
        self._is_gone = False
        self._folder = options.home.root / "hil-bench" / f"{KIND}-{options.port}"
        self._stack = ExitStack()

    def start(self) -> None:
        """Returns when the device is connected. Errors: ``board.in-use``, ``hil.port-taken``,
        ``hil.bad-address``, ``hil.no-device``, ``broker.*``."""
        with ExitStack() as stack, interrupts_unwrapped():
            self._start(stack)
            self._stack = stack.pop_all()

    def stop(self) -> None:
        """End everything this run started, Ctrl-C or not; harmless twice."""
        with interrupts_deferred():
            self._stack.close()

    def wait_here(self) -> None:
        """Returns when the device is connected, as each case finds it; error
        ``hil.device-gone``, and soon where it was gone before."""
        wanted, end = self.options.client_id, time.monotonic() + self._patience_s()
        while not (here := self.broker.clients()) or (wanted and wanted not in here):
            if time.monotonic() > end:
                self._is_gone = True
                raise KeyfobHostError(
                    "hil.device-gone",
                    "the device does not come back",
                    evidence=f"{self.client_id} is not connected to {self.options.address}:"
                    f"{self.options.port}; {self.diagnosis()[0]}",
                    fix="look at the device; have it connect by itself, whatever happened before",
                    status=ExitStatus.NETWORK,
                )
            time.sleep(_POLL_S)
        self._is_gone = False

    def _patience_s(self) -> float:
        return _GONE_S if self._is_gone else _BACK_S

    def told(self) -> dict[str, Any]:
        """Of the device, for a report."""
        return {**self.options.told(), "name": self.client_id or self.options.name}

    def lost(self) -> KeyfobHostError | None:
        """None: that it does not come back is told by `wait_here`."""
        return None

    def events(self) -> Sequence[Mapping[str, Any]]:
        """None: it has no console here."""
        return ()

    def diagnosis(self) -> tuple[str, dict[str, object]]:
        """What the wire says of its last connection, in words and as data."""
        for one in reversed(self.broker.tap.connections):
            if one.verdict is not None:
                return one.verdict.text, one.verdict.as_dict()
        return "no connection of its has ended", {}

    def _start(self, stack: ExitStack) -> None:
        options = self.options
        lock = options.home.runtime_dir.parent / f"broker-port-{options.port}.lock"
        stack.enter_context(board_lock(lock, f"at port {options.port}"))
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder = Home(self._folder).broker_dir
        stack.callback(self._forget_keys)
        leftover = MosquittoBroker.attach(folder)  # of a run that was killed
        if leftover is not None:
            leftover.stop()
        self.ca = BenchCa(self._folder, replace(options.authority, days=_DAYS))
        self.broker = BenchBroker(
            folder, self.ca, options.address, options.listen_host, self.evidence,
            port=options.port, acl=False,
        )  # fmt: skip
        stack.callback(self.broker.stop_all)
        self.broker.start_all()
        self.evidence.add("broker log", self.broker.log)
        self.evidence.add("TLS on the wire", self.broker.tap.report)
        self.evidence.add("link", self.broker.relay.summary)
        self.broker.mark()
        for line in self._how():
            self._tell(line)
        arrival = Arrival(self.broker, options.client_id, self._tell)
        self.client_id = arrival.wait(options.wait_s)
        self.filters = arrival.wait_filters(self.client_id)
        self._tell(f"{self.client_id} is connected")

    def _forget_keys(self) -> None:
        """The bench's CA stands behind them, which others trust too."""
        for path in self._folder.rglob(KEY_FILE):
            path.unlink()

    def _how(self) -> list[str]:
        options = self.options
        if options.client_id:
            who = f"{options.client_id}, and no other"
        else:
            who = "any (with --client-id NAME no other counts)"
        return [
            f"waiting up to {options.wait_s:g} s for the device; Ctrl-C ends",
            f"  broker       {options.address}, port {options.port}: MQTT 3.1.1 or 5.0 over TLS",
            f"  it trusts    {options.home.ca_dir / CERT_FILE}",
            "  it shows     a certificate of that CA: keyfob cert device ID;",
            "               keyfob cert export ID --format pem --with-key",
            f"  client id    {who}",
            "  it connects again by itself whenever it is cut off; publishing and subscribing",
            "  with QoS 1, and a keep alive below a minute, lets all cases be run",
        ]


def _listen_host(address: str) -> str:
    """The address of this machine's that ``address`` is, or that the name resolves to."""
    why = "a certificate is for one address, and a device connects to one"
    try:
        if str(ipaddress.ip_address(address)) not in _ANY:
            return address
    except ValueError:
        try:
            return str(socket.getaddrinfo(address, None, type=socket.SOCK_STREAM)[0][4][0])
        except OSError as error:
            why = f"as a name it resolves to nothing: {error.strerror or error}"
    raise KeyfobHostError(
        "hil.bad-address",
        f"devices cannot connect to {address!r}",
        evidence=why,
        fix=_EXAMPLE,
        status=ExitStatus.USAGE,
    )
