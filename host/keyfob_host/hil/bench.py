"""The whole bench of a run: board, broker, certificate authority, time servers.

The board is locked for the run. A virtual board that is not up is started, with a
folder of its own below the bench's so that the user's boards go undisturbed, and is
ended with the run. What is on a board already (MicroPython, Keyfob's files) stays; its own
identity and settings are put aside and come back with the run's end.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack

from keyfob_host.bench.file import bench_coordinator, resolve_port
from keyfob_host.boards import BoardRef, open_board
from keyfob_host.broker import MosquittoBroker
from keyfob_host.console import Event
from keyfob_host.errors import KeyfobHostError
from keyfob_host.flash.flashing import flash_board
from keyfob_host.flash.images import default_image
from keyfob_host.hil.aside import bring_back, put_aside
from keyfob_host.hil.bench_board import BenchBoard
from keyfob_host.hil.bench_broker import BenchBroker
from keyfob_host.hil.bench_ca import BenchCa
from keyfob_host.hil.bench_options import BenchOptions
from keyfob_host.hil.evidence import Evidence
from keyfob_host.hil.interrupts import interrupts_deferred, interrupts_unwrapped
from keyfob_host.hil.lock import board_lock, lock_path
from keyfob_host.hil.supply import Supply
from keyfob_host.home import Home
from keyfob_host.ntp import Mode, NtpServer
from keyfob_host.power import open_power
from keyfob_host.provision.provisioning import Settings
from keyfob_host.sync import sync_board
from keyfob_host.transport import open_transport
from keyfob_host.virtual import VirtualBoard

DEVICE_ID = "hil-board"
# The least that the firmware takes: stories wait for its multiples.
KEEPALIVE_S = 5
_APP = {"period_s": 1, "dht_pin": 4, "pixel_pin": 5, "pixels": 1}


class Bench:
    """`start` brings it up, or raises `KeyfobHostError` and leaves nothing; `stop` ends it.

    ``tell`` is given lines for a person: what finding the board takes.
    """

    ca: BenchCa
    broker: BenchBroker
    board: BenchBoard

    def __init__(self, options: BenchOptions, tell: Callable[[str], None] = lambda _: None) -> None:
        self.options = options
        self._tell = tell
        self.evidence = Evidence()
        self._folder = options.home.root / "hil-bench" / options.name
        self._ntp: list[NtpServer] = []
        self._stack = ExitStack()
        self._micropython: str | None = None

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

    def lost(self) -> KeyfobHostError | None:
        """Why the board is not there any more, None if it is: see `BenchBoard.lost`."""
        return self.board.lost()

    def events(self) -> list[Event]:
        """What the board said since the story began or its last reset."""
        return self.board.events()

    def told(self) -> dict[str, str | None]:
        """What a report says of the board."""
        boot = self.board.log.latest("boot")
        return {
            **self.options.told(),
            "place": self.board.ref.port,
            "firmware": str(boot["version"]) if boot else None,
            "micropython": self._micropython,
        }

    def _start(self, stack: ExitStack) -> None:
        options = self.options
        port = self._port(stack)
        path = lock_path(options.home, options.name, port)
        stack.enter_context(board_lock(path, options.name))
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        # The folder is the same for each run on this board, so that what a killed run
        # left behind is found.
        own = Home(self._folder)
        leftover = MosquittoBroker.attach(own.broker_dir)
        if leftover is not None:
            leftover.stop()
        ref = self._open_board(stack, port)
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
            is_own=options.is_own,
            supply=self._supply(),
        )
        stack.callback(self.board.close)
        self.evidence.add("board console", self.board.log.tail)
        self.evidence.add("broker log", self.broker.log)
        self.evidence.add("TLS on the wire", self.broker.tap.report)
        self.evidence.add("link", self.broker.relay.summary)
        self.evidence.add("time servers", self._ntp_text)

    def _port(self, stack: ExitStack) -> str | None:
        """Where the board is today; None for a virtual one, which is found by its name."""
        options = self.options
        place = options.entry.place if options.entry is not None else options.place
        if place is not None:
            from keyfob_host.hil.labgrid.place import acquire

            return stack.enter_context(acquire(place, bench_coordinator(options.home)))
        if options.entry is None or options.is_virtual:
            return options.port
        return resolve_port(options.entry, options.home, self._tell)

    def _supply(self) -> Supply | None:
        """What switches the board's power, where ``bench.toml`` names something."""
        entry, home = self.options.entry, self.options.home
        if entry is None or entry.power is None:
            return None
        return Supply(open_power(entry.power), lambda: resolve_port(entry, home))

    def _open_board(self, stack: ExitStack, port: str | None) -> BoardRef:
        """The board, with MicroPython and Keyfob's files on it."""
        options = self.options
        if options.is_virtual:
            self._virtual_board(stack)
        ref = open_board(options.kind, port, name=options.name, home=options.home)
        if ref.virtual is not None and ref.virtual.info()["state"] != "running":
            flash_board(ref, default_image(ref.kind, options.home))
        sync_board(ref, reset=False)
        with open_transport(ref) as prompt:
            version = prompt.eval("__import__('sys').implementation.version")
            if isinstance(version, tuple):
                self._micropython = ".".join(str(one) for one in version[:3])
            if not options.is_own:
                # Before the first step: also where it is interrupted, or what follows fails.
                stack.callback(self._bring_back, ref)
                put_aside(prompt, DEVICE_ID)
        return ref

    def _bring_back(self, ref: BoardRef) -> None:
        """The run is over for the board: nobody else has its port any more."""
        # A board whose power was cut may have come back at another port.
        with open_transport(self.board.ref if hasattr(self, "board") else ref) as prompt:
            bring_back(prompt)
            prompt.reset()

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
            # Both given, because what is on the board already stays where nothing is said.
            extra={"broker.keepalive_s": KEEPALIVE_S, "broker.version": 4},
        )

    def _ntp_text(self) -> str:
        return "\n".join(
            f"{host}:{server.port}: mode {server.mode.value}, offset {server.offset_s:g} s, "
            f"{server.requests} requests"
            for host, server in zip(self.options.ntp_hosts, self._ntp, strict=True)
        )
