"""The virtual access point and the link from a board to the network, which can fail.

A board reaches the network only through here: resolving a name gives it the address
of a relay on the loopback, one for each target, for TCP and UDP alike. The relay
carries bytes and looks at none of them, so TLS is end to end. Names below
``.keyfob.test`` are this host; others are resolved as the host resolves them.
"""

from __future__ import annotations

import asyncio
import socket
from typing import Any

from keyfob_host.relay import Fault
from keyfob_host.virtual.chips import Chip
from keyfob_host.virtual.link import TcpTarget, UdpTarget
from keyfob_host.virtual.station_memory import Remembered, StationMemory

SSID = "keyfob-bench"
PASSWORD = "keyfob-bench-password"  # noqa: S105  (the bench's own, published in the README)
BENCH_DOMAIN = ".keyfob.test"

_BSSID = "240ac4000001"
_RSSI = -47
_WPA2 = 3
_ADDRESSES = ("192.168.4.2", "255.255.255.0", "192.168.4.1", "192.168.4.1")
_NO_ADDRESSES = ("0.0.0.0",) * 4  # noqa: S104  (what the port shows, not a bind)
_PORT_TRIES = 5
_JOIN_S = 0.05  # a real board takes seconds; a test should not


class Network:
    """Wi-Fi station and links of one board."""

    def __init__(self, mac: str, chip: Chip, memory: StationMemory | None) -> None:
        """``memory``: what the station remembers over a reset; None if the chip does not."""
        self.mac = mac
        self._chip = chip
        self._numbers = chip.statuses
        self._memory = memory
        self.own_access_point = False
        self.access_point_up = True
        self.fault: Fault | None = None
        self._tcp: dict[tuple[str, int], TcpTarget] = {}
        self._udp: dict[tuple[str, int], UdpTarget] = {}
        self.station_off()

    # -- the station

    def station_off(self) -> None:
        """The board restarted: Wi-Fi is off and every connection is gone."""
        self.active = False
        self.status = self._numbers.idle
        self.wanted: tuple[str, str] | None = None
        self._close_targets()

    def started(self) -> None:
        """The chip runs its program: what it remembers is in force before a line of it."""
        if self._memory is None:
            return
        remembered = self._memory.load()
        self.active = remembered.station
        self.own_access_point = remembered.own_access_point
        if self.active and remembered.ssid is not None:
            self._join(remembered.ssid, remembered.key)

    def _remember(self, ssid: str | None = None, key: str | None = None) -> None:
        if self._memory is None:
            return
        before = self._memory.load()
        where = (before.ssid, before.key) if ssid is None else (ssid, key or "")
        self._memory.save(Remembered(self.active, self.own_access_point, *where))

    def wlan(self, interface: int, do: str, **arguments: Any) -> Any:
        """One call of ``network.WLAN``; see ``chip/network.py``."""
        if interface == 1:
            if self._memory is not None and "up" in arguments:
                self.own_access_point = arguments["up"]
                self._remember()
            return {
                "active": self.own_access_point,
                "status": (self._numbers.idle, None),
                "mac": self.mac,
                "ssid": f"MicroPython-{self.mac[6:]}" if self.own_access_point else "",
                "ifconfig": _NO_ADDRESSES,
                "scan": [],
            }.get(do)
        if do == "active":
            if "up" in arguments and not arguments["up"]:
                self.station_off()
            if "up" in arguments:
                self.active = arguments["up"]
                self._remember()
            return self.active
        if do == "connect":
            self._remember(arguments.get("ssid"), arguments.get("key"))
            self._join(arguments.get("ssid"), arguments.get("key"))
            return None
        if do == "disconnect":
            self.wanted, self.status = None, self._numbers.idle
            self._cut()
            return None
        if do == "scan":
            return [(SSID, _BSSID, 6, _RSSI, _WPA2, False)] if self.access_point_up else []
        return {
            "status": (self.status, _RSSI if self.status == self._numbers.got_ip else None),
            "mac": self.mac,
            "ssid": self.wanted[0] if self.wanted else "",
            "ifconfig": _ADDRESSES if self.status == self._numbers.got_ip else _NO_ADDRESSES,
        }[do]

    def _join(self, ssid: str | None, key: str | None) -> None:
        if ssid is not None:
            self.wanted = (ssid, key or "")
        if self.wanted is None:
            return
        self.status = self._numbers.connecting
        asyncio.get_running_loop().call_later(_JOIN_S, self._joined)

    def _joined(self) -> None:
        if not self.active or self.wanted is None:
            return
        ssid, key = self.wanted
        if not self.access_point_up or ssid != SSID:
            self.status = self._numbers.no_ap_found
        elif key != PASSWORD:
            self.status = self._numbers.wrong_password
        else:
            self.status = self._numbers.got_ip

    def set_access_point(self, up: bool) -> None:
        """Switch the access point; a station that was on it rejoins by itself, as a real one."""
        self.access_point_up = up
        if not up:
            if self.status == self._numbers.got_ip:
                self.status = self._numbers.beacon_timeout
            self._cut()
        elif self.active and self.wanted and self.status != self._numbers.got_ip:
            self._join(None, None)

    # -- the link

    async def resolve(self, host: str, port: int, type: int = 0) -> dict[str, Any]:
        """Where the board is to connect for ``host:port``; an ``error`` as the port raises it."""
        if self.status != self._numbers.got_ip:
            return {"error": self._chip.no_such_host}
        if not 0 <= port <= 0xFFFF:
            return {"error": -8}
        if host == "0.0.0.0":  # noqa: S104  (a program on the board that listens)
            return {"host": "127.0.0.1", "port": port}
        address = await self._lookup(host)
        if address is None:
            return {"error": self._chip.no_such_host}
        if (address, port) not in self._udp:
            made = await self._targets(address, port)
            self._tcp[address, port], self._udp[address, port] = made
        tcp = self._tcp[address, port]
        if type != socket.SOCK_DGRAM:
            await tcp.probe()
        return {"host": "127.0.0.1", "port": tcp.port}

    async def _targets(self, address: str, port: int) -> tuple[TcpTarget, UdpTarget]:
        """Both on one port; one that is free for TCP may be another program's for UDP."""
        tries = _PORT_TRIES
        while True:
            tcp = TcpTarget(self, address, port)
            try:
                return tcp, await UdpTarget.open(self, address, port, tcp.port)
            except OSError:
                tcp.close()
                tries -= 1
                if not tries:
                    raise

    async def _lookup(self, host: str) -> str | None:
        name = host.lower().rstrip(".")
        if name == BENCH_DOMAIN[1:] or name.endswith(BENCH_DOMAIN):
            return "127.0.0.1"
        try:
            found = await asyncio.get_running_loop().getaddrinfo(host, None, family=socket.AF_INET)
        except (OSError, UnicodeError):
            return None
        return str(found[0][4][0]) if found else None

    @property
    def up(self) -> bool:
        """Whether bytes pass at all."""
        return self.status == self._numbers.got_ip

    def set_fault(self, fault: Fault | None) -> None:
        """Put ``fault`` in force on every link, live and new; None: everything passes."""
        self.fault = fault
        for target in self._tcp.values():
            target.fault_changed()

    def live(self) -> int:
        """TCP connections open now."""
        return sum(target.live for target in self._tcp.values())

    def cut(self) -> int:
        """Reset the connections that live now; how many there were."""
        return self._cut()

    def _cut(self) -> int:
        return sum(target.reset_connections() for target in self._tcp.values())

    def _close_targets(self) -> None:
        for tcp in self._tcp.values():
            tcp.close()
        for udp in self._udp.values():
            udp.close()
        self._tcp.clear()
        self._udp.clear()

    def close(self) -> None:
        """Close everything."""
        self._close_targets()
