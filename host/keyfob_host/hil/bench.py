"""The whole bench of a run: board, broker, certificate authority, time servers.

The board is locked for the run. A virtual board that is not up is started, with a
folder of its own below the bench's so that the user's boards go undisturbed, and is
ended with the run. What is on a board already (MicroPython, Keyfob's files) stays.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from keyfob_host.boards import BoardRef, load_kind, open_board
from keyfob_host.broker import MosquittoBroker
from keyfob_host.errors import ExitStatus, KeyfobHostError
from keyfob_host.flash.flashing import flash_board
from keyfob_host.flash.images import default_image
from keyfob_host.hil.bench_board import BenchBoard
from keyfob_host.hil.bench_broker import BenchBroker
from keyfob_host.hil.bench_ca import BenchCa
from keyfob_host.hil.evidence import Evidence
from keyfob_host.hil.interrupts import interrupts_deferred, interrupts_unwrapped
from keyfob_host.hil.lock import board_lock, lock_path
from keyfob_host.home import Home, find_home
from keyfob_host.ntp import Mode, NtpServer
from keyfob_host.ports import port_not_given
from keyfob_host.provision.provisioning import Settings
from keyfob_host.provision.settings import BENCH_PASSWORD, BENCH_SSID
from keyfob_host.sync import sync_board
from keyfob_host.virtual import VirtualBoard

DEVICE_ID = "hil-board"
BROKER_NAME = "broker.keyfob.test"
NTP_NAMES = ("ntp.keyfob.test", "ntp2.keyfob.test")
# The least that the firmware takes: stories wait for its multiples.
KEEPALIVE_S = 5
_APP = {"period_s": 1, "dht_pin": 4, "pixel_pin": 5, "pixels": 1}


@dataclass(frozen=True)
class BenchOptions:
    """What a run was asked for, complete. Make it with `resolve`.

    ``address`` is this machine's as boards reach it; ``broker_host`` and ``ntp_hosts``
    are how boards call it, which for real ones is that address. ``is_own``: a virtual
    board that exists for suites only.
    """

    kind: str
    port: str | None
    name: str
    is_own: bool
    home: Home
    address: str
    broker_host: str
    ntp_hosts: tuple[str, str]
    wifi_ssid: str
    wifi_password: str

    @classmethod
    def resolve(
        cls,
        *,
        kind: str,
        port: str | None = None,
        name: str | None = None,
        home: Home | None = None,
        address: str | None = None,
        wifi_ssid: str | None = None,
        wifi_password: str | None = None,
    ) -> BenchOptions:
        """Fill in what was not given.

        A virtual board without a ``name`` is the suites' own. A real one needs
        ``port``, ``address`` and Wi-Fi. Errors: those of `load_kind`,
        ``board.port-missing``, ``hil.no-address``, ``hil.no-wifi``.
        """
        base = home or find_home()
        if load_kind(kind).virtual:
            own = Home(base.root / "hil")
            return cls(
                kind=kind, port=port, name=name or kind, is_own=not name,
                home=base if name else own,
                address=address or "127.0.0.1", broker_host=BROKER_NAME, ntp_hosts=NTP_NAMES,
                wifi_ssid=wifi_ssid or BENCH_SSID, wifi_password=wifi_password or BENCH_PASSWORD,
            )  # fmt: skip
        if port is None:
            raise port_not_given(kind)
        if address is None:
            raise _missing("address", "this machine's address", "--bench-address 192.0.2.10")
        if wifi_ssid is None or wifi_password is None:
            told = "KEYFOB_WIFI_PASSWORD=… keyfob hil run --wifi-ssid NAME"
            raise _missing("wifi", "its access point", told)
        return cls(
            kind=kind, port=port, name=name or Path(port).name, is_own=False, home=base,
            address=address, broker_host=address, ntp_hosts=(address, address),
            wifi_ssid=wifi_ssid, wifi_password=wifi_password,
        )  # fmt: skip


class Bench:
    """`start` brings it up, or raises `KeyfobHostError` and leaves nothing; `stop` ends it."""

    ca: BenchCa
    broker: BenchBroker
    board: BenchBoard

    def __init__(self, options: BenchOptions) -> None:
        self.options = options
        self.evidence = Evidence()
        self._folder = options.home.root / "hil-bench" / options.name
        self._ntp: list[NtpServer] = []
        self._stack = ExitStack()

    def start(self) -> None:
        with ExitStack() as stack, interrupts_unwrapped():
            self._start(stack)
            self._stack = stack.pop_all()

    def stop(self) -> None:
        """End everything this run started, Ctrl-C or not; harmless twice."""
        with interrupts_deferred():
            self._stack.close()

    def fresh_ntp(self, index: int) -> NtpServer:
        """Time server 0 or 1, truthful again, its requests counted from 0."""
        server = self._ntp[index]
        server.mode, server.offset_s, server.requests = Mode.OK, 0.0, 0
        return server

    def diagnosis(self) -> tuple[str, dict[str, object]]:
        """What the doctor says of board and broker as they are now, in words and as data."""
        from keyfob_host.hil.bench_doctor import diagnosis

        return diagnosis(Home(self._folder), self.board, self.broker)

    def _start(self, stack: ExitStack) -> None:
        options = self.options
        path = lock_path(options.home, options.name, options.port)
        stack.enter_context(board_lock(path, options.port or options.name))
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        # The folder is the same for each run on this board, so that what a killed run
        # left behind is found.
        own = Home(self._folder)
        leftover = MosquittoBroker.attach(own.broker_dir)
        if leftover is not None:
            leftover.stop()
        ref = self._open_board(stack)
        self.ca = BenchCa(self._folder)
        self.broker = BenchBroker(
            own.broker_dir,
            self.ca,
            options.broker_host,
            options.address,
            self.evidence,
        )
        stack.callback(self.broker.stop_all)
        self.broker.start_all()
        self._ntp = [stack.enter_context(NtpServer(options.address)) for _ in range(2)]
        self.board = BenchBoard(
            ref,
            self.ca.authority.issue_device(DEVICE_ID),
            self._settings(),
            self.evidence,
            self.broker.wait_subscribed,
        )
        stack.callback(self.board.close)
        self.evidence.add("board console", self.board.log.tail)
        self.evidence.add("broker log", self.broker.log)
        self.evidence.add("TLS on the wire", self.broker.tap.report)
        self.evidence.add("link", self.broker.relay.summary)
        self.evidence.add("time servers", self._ntp_text)

    def _open_board(self, stack: ExitStack) -> BoardRef:
        """The board, with MicroPython and Keyfob's files on it."""
        options = self.options
        if options.port is None:
            self._virtual_board(stack)
        ref = open_board(
            options.kind,
            options.port,
            name=options.name if options.port is None else None,
            home=options.home,
        )
        if ref.virtual is not None and ref.virtual.info()["state"] != "running":
            flash_board(ref, default_image(ref.kind, options.home))
        sync_board(ref, reset=False)
        return ref

    def _virtual_board(self, stack: ExitStack) -> None:
        options = self.options
        board = VirtualBoard(options.home, options.name)
        # The suites' own is ended even if it is up: then an earlier run was killed.
        if options.is_own or not board.is_up():
            stack.callback(lambda: board.down() if board.is_up() else None)
        with interrupts_deferred():
            VirtualBoard.up(options.home, options.kind, options.name)
        board.power(True)
        board.wifi(True)

    def _settings(self) -> Settings:
        options = self.options
        servers = zip(options.ntp_hosts, self._ntp, strict=True)
        return Settings(
            broker=f"{options.broker_host}:{self.broker.port}",
            ntp=tuple(f"{host}:{server.port}" for host, server in servers),
            wifi_ssid=options.wifi_ssid,
            wifi_password=options.wifi_password,
            app=_APP,
            extra={"broker.keepalive_s": KEEPALIVE_S},
        )

    def _ntp_text(self) -> str:
        return "\n".join(
            f"{host}:{server.port}: mode {server.mode.value}, offset {server.offset_s:g} s, "
            f"{server.requests} requests"
            for host, server in zip(self.options.ntp_hosts, self._ntp, strict=True)
        )


def _missing(what: str, words: str, example: str) -> KeyfobHostError:
    return KeyfobHostError(
        f"hil.no-{what}",
        f"a real board must be told {words}, so that it reaches the bench's broker",
        fix=example,
        status=ExitStatus.USAGE,
    )
