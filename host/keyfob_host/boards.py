"""Board kinds (``boards/*.toml``) and the board a command works on.

A kind is data: chip, flash layout, serial port, heap, limits, TLS engine. What is
read here is checked for shape and range; whether the chip on the cable is the one
the file names is for `keyfob_host.flash.flashing` to ask the chip itself.
"""

from __future__ import annotations

import difflib
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated, Literal

from keyfob_host.data import data_path
from keyfob_host.errors import ExitStatus, KeyfobHostError
from keyfob_host.home import Home, find_home
from keyfob_host.ports import check_port, holders, port_busy, port_not_given, socket_clients
from keyfob_host.remote_ports import is_place, port_name
from keyfob_host.strict_toml import Pattern, Range, read_strict, refuse_field

if TYPE_CHECKING:
    from keyfob_host.bench.file import BenchEntry
    from keyfob_host.virtual import VirtualBoard

DEFAULT_KIND = "virtual-esp32"
_WHAT = "board file"
_RELEASE_TIMEOUT_S = 1.0

_Slug = Annotated[str, Pattern(r"[a-z0-9][a-z0-9-]{0,31}", "lower-case letters, digits and dashes")]
_Text = Annotated[str, Range(1, 200)]
_Sha256 = Annotated[str, Pattern(r"[0-9a-f]{64}", "64 lower-case hexadecimal digits")]
_Baud = Annotated[int, Range(9600, 3_000_000)]
_Bytes = Annotated[int, Range(64, 1 << 20)]
Engine = Literal["mbedtls", "keyfob"]
SyncTo = Literal["files", "romfs"]
Names = Literal["full", "short"]


@dataclass(frozen=True)
class Flash:
    """Where and how the image is written. Sizes and offsets in bytes."""

    size: Annotated[int, Range(0x40000, 0x8000000)]
    offset: Annotated[int, Range(0, 0x10000)]
    baud: _Baud
    before: Literal["default-reset", "usb-reset", "no-reset"]
    after: Literal["hard-reset", "soft-reset", "watchdog-reset", "no-reset"]
    mode: Literal["keep", "qio", "qout", "dio", "dout"]
    freq: Literal["keep", "80m", "40m", "26m", "20m"]
    size_option: Literal["keep", "detect"]
    partition_table: Annotated[int, Range(0x1000, 0x10000)] | None = None
    image_sha256: tuple[_Sha256, ...] = ()


@dataclass(frozen=True)
class Vfs:
    """The partition that holds the board's files."""

    label: Annotated[str, Range(1, 16)]


@dataclass(frozen=True)
class Serial:
    """The console. ``download_mode`` tells a person how to get there by hand."""

    baud: _Baud
    reset: Literal["dtr-rts", "usb-serial-jtag", "control"]
    download_mode: _Text


@dataclass(frozen=True)
class Limits:
    """What the firmware may use; goes into ``/keyfob.json`` as it stands."""

    rx_bytes: _Bytes
    tx_bytes: _Bytes
    payload_bytes: _Bytes
    inflight: Annotated[int, Range(1, 64)]
    inbox: Annotated[int, Range(1, 64)] = 8

    def as_dict(self) -> dict[str, int]:
        """The ``limits`` of ``/keyfob.json``."""
        return asdict(self)


@dataclass(frozen=True)
class Tls:
    """Who does TLS on this kind: MicroPython's mbedTLS, or Keyfob's own engine.

    ``versions``: those that Keyfob's is to offer; mbedTLS has the ones it was built with.
    ``keys``: the types of private key that the kind has the memory and the time for.
    """

    engine: Engine
    versions: tuple[Literal["1.2", "1.3"], ...] = ("1.2", "1.3")
    keys: tuple[Literal["p256", "rsa2048"], ...] = ("p256", "rsa2048")


@dataclass(frozen=True)
class Sync:
    """Where `keyfob sync` puts packages: into the file system, or into a ROMFS image.

    ``names``: of what the firmware keeps to itself, as written, or as the board has them.
    """

    to: SyncTo
    names: Names = "full"


@dataclass(frozen=True)
class Image:
    """A firmware image inside a Python wheel, each pinned by its SHA-256."""

    package: _Text
    version: _Text
    wheel_sha256: _Sha256
    member: _Text
    sha256: _Sha256


@dataclass(frozen=True)
class BoardKind:
    """One board file. ``app``: the module below ``apps`` that it runs if no other is named.
    ``image_chip_id`` is absent where image headers name no chip (ESP8266)."""

    name: _Slug
    title: _Text
    virtual: bool
    chip: Literal["esp8266", "esp32", "esp32s2", "esp32s3", "esp32c2", "esp32c3", "esp32c6"]
    heap_bytes: Annotated[int, Range(16 << 10, 64 << 20)]
    flash: Flash
    serial: Serial
    limits: Limits
    tls: Tls
    sync: Sync
    app: Annotated[str, Pattern(r"[a-z0-9_]{1,32}", "a name of a module")] = "sensor"
    image_chip_id: Annotated[int, Range(0, 0xFFFF)] | None = None
    vfs: Vfs | None = None
    image: Image | None = None


@dataclass(frozen=True)
class BoardRef:
    """The board a command works on: a kind, and where it is.

    ``port`` is what serial tools open: the device of a real board, the PTY of a
    virtual one. ``name`` tells boards of one kind apart. ``entry`` is its table in
    ``bench.toml``, where it was named by that. ``place``: ``labgrid://PLACE``, where its port
    was found through that.
    """

    kind: BoardKind
    port: str
    name: str
    virtual: VirtualBoard | None = None
    entry: BenchEntry | None = None
    place: str | None = None

    @property
    def stream_url(self) -> str:
        """The fastest pyserial URL to the board's console: a virtual board's socket."""
        return self.port if self.virtual is None else str(self.virtual.info()["socket_url"])

    @property
    def options(self) -> str:
        """What names it in a command, with a space before; "" for the default board."""
        if self.entry is not None:
            return f" --board {self.entry.name}"
        if self.virtual is None:
            return f" --board {self.kind.name} --port {quote(self.place or self.port)}"
        if self.name != self.kind.name:
            return f" --board {self.kind.name} --name {quote(self.name)}"
        return "" if self.kind.name == DEFAULT_KIND else f" --board {self.kind.name}"

    def check_not_held(self) -> None:
        """Refuse the board while another command or run has it: ``port.busy``, with its holder."""
        from keyfob_host.hil.lock import check_not_held

        check_not_held(self._lock_path(), self.name)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Have the board alone for the body, which changes what is on it.

        Errors: ``port.busy``, and ``board.in-use`` of two that begin at once.
        """
        from keyfob_host.hil.lock import board_lock, holder_of

        self.check_not_held()
        holder = holder_of(self._lock_path())
        # A suite may call a command for the board that it has.
        is_ours = holder is not None and holder.is_ours
        with nullcontext() if is_ours else board_lock(self._lock_path(), self.name):
            yield

    def _lock_path(self) -> Path:
        from keyfob_host.hil.lock import lock_path

        home = find_home() if self.virtual is None else self.virtual.home
        return lock_path(home, self.name, self.port if self.virtual is None else None)

    def check_free(self) -> None:
        """Refuse the board while a suite has it, or another program its serial port.

        Opens nothing. Errors: those of `keyfob_host.ports.check_port`. A virtual
        board notices with a little delay that a client has left.
        """
        self.check_not_held()
        if self.virtual is None:
            check_port(self.port)
            return
        deadline = time.monotonic() + _RELEASE_TIMEOUT_S
        info = self.virtual.info()
        while info["client"] is not None and time.monotonic() < deadline:
            time.sleep(0.02)
            info = self.virtual.info()
        if info["client"] is not None:
            urls = [str(info["socket_url"]), str(info["rfc2217_url"])]
            clients = [client for url in urls for client in socket_clients(url)]
            raise port_busy(self.port, [*holders(self.port), *clients])


def kind_names() -> list[str]:
    """The kinds there are, sorted."""
    return sorted(path.stem for path in data_path("boards").glob("*.toml"))


def load_kind(name: str) -> BoardKind:
    """The kind ``name``, from ``boards/NAME.toml``, or from a path that ends in ``.toml``.

    Errors: ``board.unknown-kind``, ``file.*``, ``toml.*`` (see `keyfob_host.strict_toml`).
    """
    if name.endswith(".toml"):
        return load_kind_file(Path(name))
    if name not in kind_names():
        raise unknown_kind(name)
    return load_kind_file(data_path("boards") / f"{name}.toml")


def unknown_kind(name: str, of_bench: Sequence[str] = ()) -> KeyfobHostError:
    """``board.unknown-kind`` with the nearest; ``of_bench``: boards that bench.toml names."""
    kinds = kind_names()
    near = difflib.get_close_matches(name, [*of_bench, *kinds], 1, 0.4)
    boards = f"; boards in bench.toml: {', '.join(of_bench)}" if of_bench else ""
    return KeyfobHostError(
        "board.unknown-kind",
        f"there is no board kind {name!r}" + (", and no such board" if of_bench else ""),
        evidence=f"kinds: {', '.join(kinds)}{boards}",
        fix=f"run it again with --board {near[0] if near else DEFAULT_KIND}",
        status=ExitStatus.USAGE,
    )


def load_kind_file(path: Path) -> BoardKind:
    """The kind in the file ``path``; errors as `load_kind`."""
    kind = read_strict(path, BoardKind, what=_WHAT)
    if kind.name != path.stem:
        raise refuse_field(path, "name", kind.name, f"the file's own name, {path.stem}", what=_WHAT)
    _check_layout(path, kind)
    return kind


def _check_layout(path: Path, kind: BoardKind) -> None:
    """Fields that must agree with each other."""
    flash = kind.flash
    if flash.size & (flash.size - 1):
        raise refuse_field(path, "flash.size", flash.size, "a power of two", what=_WHAT)
    if flash.offset % 0x1000:
        raise refuse_field(
            path, "flash.offset", flash.offset, "a multiple of 4096, the sector", what=_WHAT
        )
    if flash.partition_table is not None and flash.partition_table <= flash.offset:
        wanted = f"above flash.offset, {flash.offset:#x}"
        raise refuse_field(path, "flash.partition_table", flash.partition_table, wanted, what=_WHAT)
    esp8266 = kind.chip == "esp8266"
    for field, value in (
        ("image_chip_id", kind.image_chip_id),
        ("flash.partition_table", flash.partition_table),
        ("vfs", kind.vfs),
    ):
        if (value is None) != esp8266:
            wanted = "to be left out for an esp8266" if esp8266 else f"to be given for {kind.chip}"
            raise refuse_field(path, field, value, wanted, what=_WHAT)
    for field, part in (("tx_bytes", kind.limits.tx_bytes), ("rx_bytes", kind.limits.rx_bytes)):
        if kind.limits.payload_bytes >= part:
            raise refuse_field(
                path, "limits.payload_bytes", kind.limits.payload_bytes,
                f"less than limits.{field}, {part}: a packet has a header too", what=_WHAT,
            )  # fmt: skip


def open_board(
    kind_name: str = DEFAULT_KIND,
    port: str | None = None,
    *,
    name: str | None = None,
    home: Home | None = None,
    on_step: Callable[[str], None] | None = None,
) -> BoardRef:
    """The board that ``--board``, ``--port`` and ``--name`` mean.

    A virtual kind means the running virtual board ``name`` (by default named like
    its kind) of ``home``; a real kind means the board on ``port``, which is opened
    by nobody here. In place of a kind a board of the bench file has its kind and port;
    ``on_step`` is told of what it takes to find that.
    Errors: those of `load_kind`, ``board.port-missing`` when a real kind is given no
    port, ``board.not-up``/``board.*`` from the virtual board, those of
    `keyfob_host.bench.file.resolve_port`, for ``labgrid://PLACE`` ``labgrid.*``.
    """
    entry = None if port and kind_name in kind_names() else _entry(kind_name, home)
    if entry is not None:
        return _open_entry(entry, port, home or find_home(), on_step)
    kind = load_kind(kind_name)
    if not kind.virtual:
        if port is None:
            raise port_not_given(kind.name)
        found = _at_place(port, home or find_home()) if is_place(port) else port
        place = port if found != port else None
        return BoardRef(kind, found, name or port_name(port), place=place)
    if port is not None:
        raise KeyfobHostError(
            "board.port-unused",
            f"{kind.name} is a virtual board: it is found by its name, not by a port",
            evidence=f"--port {port}",
            fix=f"run it again with --board {kind.name} --name {name or kind.name} and no --port",
            status=ExitStatus.USAGE,
        )
    from keyfob_host.virtual import VirtualBoard

    board_name = name or kind.name
    virtual = VirtualBoard.attach(home or find_home(), board_name)
    return BoardRef(kind, str(virtual.info()["pty"]), board_name, virtual)


def _entry(name: str, home: Home | None) -> BenchEntry | None:
    """The board that the bench file calls ``name``, None for a kind."""
    is_kind = name in kind_names()
    if name.endswith(".toml") or (is_kind and load_kind(name).virtual):
        return None
    from keyfob_host.bench.file import entry_names, find_entry

    place = home or find_home()
    entry = find_entry(place, name)
    if entry is None and not is_kind:
        raise unknown_kind(name, entry_names(place))
    return entry


def _at_place(port: str, home: Home) -> str:
    """The port of a board at a place of labgrid, acquired to the end of the command."""
    from keyfob_host.bench.file import bench_coordinator
    from keyfob_host.hil.labgrid.place import resolve

    return resolve(port, bench_coordinator(home))


def _open_entry(
    entry: BenchEntry, port: str | None, home: Home, on_step: Callable[[str], None] | None
) -> BoardRef:
    """The board of a bench file; a ``port`` that was given too is where it is."""
    kind = load_kind(entry.kind)
    if not kind.virtual:
        from keyfob_host.bench.file import resolve_port

        found = port or resolve_port(entry, home, on_step)
        return BoardRef(kind, found, entry.name, entry=entry)
    try:
        ref = open_board(kind.name, port, name=entry.name, home=home)
    except KeyfobHostError as error:
        if error.code == "board.not-up":
            error.fix = f"keyfob board up {kind.name} --name {entry.name}"
        raise
    return replace(ref, entry=entry)
