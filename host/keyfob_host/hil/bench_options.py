"""What a run on one board was asked for, complete: board, place of the bench, network.

Nothing is looked for here but the kind's file: whether board and address are there shows
when the bench comes up.
"""

from __future__ import annotations

from dataclasses import dataclass

from keyfob_host.bench.file import BenchEntry, BenchFile
from keyfob_host.boards import load_kind
from keyfob_host.errors import ExitStatus, KeyfobHostError
from keyfob_host.hil import capabilities as can
from keyfob_host.home import Home, find_home
from keyfob_host.ports import port_not_given
from keyfob_host.provision.settings import BENCH_PASSWORD, BENCH_SSID
from keyfob_host.remote_ports import is_place, port_name

BROKER_NAME = "broker.keyfob.test"
NTP_NAMES = ("ntp.keyfob.test", "ntp2.keyfob.test")


@dataclass(frozen=True)
class Network:
    """Where boards find the bench, None where nothing was said of it."""

    address: str | None = None
    wifi_ssid: str | None = None
    wifi_password: str | None = None


@dataclass(frozen=True)
class BenchOptions:
    """What a run was asked for, complete. Make it with `resolve`.

    ``address`` is this machine's as boards reach it; ``broker_host`` and ``ntp_hosts``
    are how boards call it, which for real ones is that address. ``is_own``: a virtual
    board that exists for suites only. ``port``: None for a virtual board, and for an ``entry``
    of ``bench.toml``, whose port is looked for when the bench comes up.
    """

    kind: str
    is_virtual: bool
    port: str | None
    name: str
    is_own: bool
    home: Home
    address: str
    broker_host: str
    ntp_hosts: tuple[str, str]
    wifi_ssid: str
    wifi_password: str
    chip: str
    title: str
    entry: BenchEntry | None = None

    @classmethod
    def of_entry(
        cls, entry: BenchEntry, bench: BenchFile, home: Home, asked: Network
    ) -> BenchOptions:
        """The board ``entry`` of ``bench``; what was ``asked`` for wins over the file's."""
        return cls.resolve(
            kind=entry.kind, name=entry.name, home=home, is_own=entry.virtual, entry=entry,
            address=asked.address or bench.address,
            wifi_ssid=asked.wifi_ssid or bench.wifi_ssid, wifi_password=asked.wifi_password,
        )  # fmt: skip

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
        is_own: bool = False,
        entry: BenchEntry | None = None,
    ) -> BenchOptions:
        """Fill in what was not given.

        A virtual board without a ``name``, or that ``is_own``, is the suites'. A real one needs
        ``port``, ``address`` and Wi-Fi. Errors: those of `load_kind`,
        ``board.port-missing``, ``hil.no-address``, ``hil.no-wifi``.
        """
        base = home or find_home()
        found = load_kind(kind)
        if found.virtual:
            is_own = is_own or not name
            return cls(
                kind=kind, is_virtual=True, port=port, name=name or kind, is_own=is_own,
                home=Home(base.root / "hil") if is_own else base,
                address=address or "127.0.0.1", broker_host=BROKER_NAME, ntp_hosts=NTP_NAMES,
                wifi_ssid=wifi_ssid or BENCH_SSID, wifi_password=wifi_password or BENCH_PASSWORD,
                chip=found.chip, title=found.title, entry=entry,
            )  # fmt: skip
        if port is None and entry is None:
            raise port_not_given(kind)
        if address is None:
            told = "run it again with --bench-address ADDRESS, one of: hostname -I"
            raise _missing("address", "this machine's address", told)
        if wifi_ssid is None or wifi_password is None:
            told = "KEYFOB_WIFI_PASSWORD=… keyfob hil run --wifi-ssid NAME"
            raise _missing("wifi", "its access point", told)
        return cls(
            kind=kind, is_virtual=False, port=port, name=name or port_name(port or ""),
            is_own=False, home=base, entry=entry,
            address=address, broker_host=address, ntp_hosts=(address, address),
            wifi_ssid=wifi_ssid, wifi_password=wifi_password, chip=found.chip, title=found.title,
        )  # fmt: skip

    @property
    def place(self) -> str | None:
        """``labgrid://PLACE``, where that was given as the port."""
        return self.port if self.port is not None and is_place(self.port) else None

    def capabilities(self) -> frozenset[str]:
        """What can be done to the board and around it; see `keyfob_host.hil.capabilities`."""
        here = {can.SERIAL, can.BROKER}
        if self.is_virtual:
            here |= {can.POWER, can.POWER_AT_WRITE, can.WIFI, can.SENSOR}
        elif self.entry is not None and self.entry.power is not None:
            here |= {can.POWER}
        return frozenset(here)

    def told(self) -> dict[str, str | None]:
        """What a report says of the board before anybody talked to it."""
        return {
            "name": self.name, "kind": self.kind, "title": self.title, "chip": self.chip,
            "place": self.port, "firmware": None, "micropython": None, "error": None,
        }  # fmt: skip


def _missing(what: str, words: str, example: str) -> KeyfobHostError:
    return KeyfobHostError(
        f"hil.no-{what}",
        f"a real board must be told {words}, so that it reaches the bench's broker",
        fix=example,
        status=ExitStatus.USAGE,
    )
