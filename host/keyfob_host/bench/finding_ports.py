"""Which serial port a USB device is on today: by its serial number, its place in the hubs, a MAC.

The kernel numbers ports in the order in which they appear, so ``/dev/ttyUSB0`` is another
board tomorrow. Looks at what pyserial lists and opens nothing. Not every adapter has a
serial number, and many have the same one: more than one that fits is an error and no guess.
Locations (``1-1.4``) are pyserial's own: bus and port, then the port of each hub; an adapter
with several ports adds ``:1.0``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from serial.tools import list_ports
from serial.tools.list_ports_common import ListPortInfo

from keyfob_host.errors import ExitStatus, KeyfobHostError
from keyfob_host.ports import describe_ports
from keyfob_host.printable import LINE_CHARS, printable

# Vendors of the bridges on boards, and of the USB that is in the chip itself.
_VENDORS = {
    0x10C4: "Silicon Labs CP210x",
    0x1A86: "WCH CH34x/CH910x",
    0x0403: "FTDI",
    0x067B: "Prolific",
    0x303A: "Espressif",
}
# What makers leave in all of their adapters.
_NO_SERIALS = frozenset({"", "0", "0001", "0000", "1", "123456", "12345678", "00000000"})


@dataclass(frozen=True)
class Address:
    """How a port is found; the fields that are None are not used."""

    usb_serial: str | None = None
    mac: str | None = None
    location: str | None = None
    url: str | None = None

    @property
    def count(self) -> int:
        """How many ways are given."""
        ways = (self.usb_serial, self.mac, self.location, self.url)
        return sum(way is not None for way in ways)

    def __str__(self) -> str:
        if self.usb_serial is not None:
            return f"USB serial number {self.usb_serial}"
        if self.location is not None:
            return f"USB location {self.location}"
        return f"MAC {self.mac}" if self.mac is not None else str(self.url)


def usb_ports() -> list[ListPortInfo]:
    """The USB serial ports of this machine as pyserial finds them, by device."""
    return sorted(port for port in list_ports.comports() if port.vid is not None)


def find_port(address: Address, what: str, ports: Sequence[ListPortInfo] | None = None) -> str:
    """Today's port of ``what`` ("board kitchen"), a URL or device as it stands.

    By MAC only a chip is found whose own USB has the MAC as serial number (ESP32-C3, -S3);
    `keyfob_host.bench.chip_macs` asks the others. Errors: ``port.not-plugged-in``,
    ``port.ambiguous``.
    """
    if address.url is not None:
        return address.url
    there = usb_ports() if ports is None else ports
    found = [port for port in there if fits(address, port)]
    if not found:
        raise not_plugged_in(address, what)
    if len(found) > 1:
        raise KeyfobHostError(
            "port.ambiguous", f"{len(found)} serial ports have the {address} of {what}",
            evidence="\n".join(f"{port.device}: location {port.location}" for port in found),
            fix=f'give {what} by its place in bench.toml: location = "{found[0].location}"',
            status=ExitStatus.HOST,
        )  # fmt: skip
    return found[0].device


def fits(address: Address, port: ListPortInfo) -> bool:
    """Whether ``port`` is at ``address``."""
    if address.usb_serial is not None:
        return port.serial_number == address.usb_serial
    if address.mac is not None:
        return own_mac(port) == address.mac.lower()
    if address.location is not None:
        # With or without the interface of an adapter with several ports.
        location = port.location or ""
        return address.location in (location, location.partition(":")[0])
    return port.device == address.url


def own_mac(port: ListPortInfo) -> str | None:
    """The MAC of a chip with USB of its own, which is its serial number; None for a bridge."""
    serial_number = (port.serial_number or "").lower()
    is_chip = port.vid == 0x303A and serial_number.count(":") == 5
    return serial_number if is_chip else None


def is_board(port: ListPortInfo) -> bool:
    """Whether boards come with such an adapter; other things do too."""
    return port.vid in _VENDORS


def lasting_address(port: ListPortInfo, ports: Sequence[ListPortInfo]) -> tuple[Address, str]:
    """How ``port`` is found again among ``ports``, and why not by serial number if it is not."""
    number = port.serial_number or ""
    same = sum(one.serial_number == number for one in ports)
    if number not in _NO_SERIALS and number.isprintable() and same == 1:
        return Address(usb_serial=number), ""
    if not number:
        why = "its adapter has no serial number"
    elif same > 1:
        why = f"{same} ports here have the serial number {printable(number, limit=LINE_CHARS)}"
    elif number in _NO_SERIALS:
        why = f"its serial number {number} is one that many adapters have"
    else:
        why = f"its serial number {printable(number, limit=LINE_CHARS)} cannot be written"
    return Address(location=port.location) if port.location else Address(url=port.device), why


def not_plugged_in(address: Address, what: str) -> KeyfobHostError:
    """``port.not-plugged-in``, with the ports that are there."""
    return KeyfobHostError(
        "port.not-plugged-in", f"{what} is not plugged in, or has no power",
        evidence=f"wanted {address}; serial ports here: {describe_ports()}",
        fix="plug it in, then: keyfob bench list", status=ExitStatus.HOST,
    )  # fmt: skip
