"""Serial ports behind a server of another machine: their addresses, and why one is not served.

Errors alone: the connection is `keyfob_host.rfc2217_port`'s. Who holds a port over there can
be told as far as the server tells it, or where the holder runs on this machine.
"""

from __future__ import annotations

from ipaddress import ip_address
from urllib.parse import urlsplit

from keyfob_host.errors import ExitStatus, KeyfobHostError
from keyfob_host.ports import is_url, port_busy, socket_clients
from keyfob_host.printable import printable
from keyfob_host.rfc2217_port import NotServed

# Why, as `NotServed` says it: code, cause, fix, kind of failure.
_REASONS = {
    "address": (
        "port.bad-address",
        "this is no address of a serial port behind a server",
        "run it again with --port rfc2217://HOST:PORT",
        ExitStatus.USAGE,
    ),
    "no-host": (
        "port.no-host",
        "no machine is known by the name in this port's address",
        "getent hosts {host}; or give its IP address",
        ExitStatus.NETWORK,
    ),
    "refused": (
        "port.refused",
        "nobody listens at this port's address",
        "on {host}: esp_rfc2217_server -p {tcp} /dev/ttyUSB0; for a virtual board: "
        "keyfob board list",
        ExitStatus.HOST,
    ),
    "unreachable": (
        "port.unreachable",
        "the machine in this port's address does not answer",
        "ping -c 3 {host}",
        ExitStatus.NETWORK,
    ),
    "closed": (
        "port.turned-away",
        "the server closed the connection at once: another client has the port, or it cannot "
        "open its device",
        "on {host}, see who is connected and what the server says: ss -tnp sport = :{tcp}",
        ExitStatus.HOST,
    ),
    "silent": (
        "port.silent",
        "the server takes connections and does not answer: it serves another client first "
        "(esp_rfc2217_server has one at a time), failed at its device, or is no RFC 2217 server",
        "on {host}, see who is connected and what the server says: ss -tnp sport = :{tcp}",
        ExitStatus.HOST,
    ),
    "not-rfc2217": (
        "port.not-rfc2217",
        "what answers at this port's address does not speak RFC 2217",
        "if it serves the plain bytes: --port socket://{host}:{tcp}; ser2net speaks it with "
        "accepter: telnet(rfc2217),tcp,{tcp}",
        ExitStatus.HOST,
    ),
    "settings": (
        "port.baud-refused",
        "the server does not set this baud rate",
        "run it again with --baud 115200",
        ExitStatus.HOST,
    ),
}


def port_not_served(port: str, error: NotServed) -> KeyfobHostError:
    """The error for ``port``, an ``rfc2217://`` address that could not be opened."""
    held_by = socket_clients(port) if error.why in ("closed", "silent") else []
    if held_by:
        return port_busy(port, held_by)
    code, cause, fix, status = _REASONS[error.why]
    said = f"; it said: {printable(error.said)}" if error.said else ""
    host, tcp = _address(port)
    return KeyfobHostError(
        code, cause, evidence=f"{port}: {error}{said}",
        fix=fix.format(host=host, tcp=tcp), status=status,
    )  # fmt: skip


def is_place(port: str) -> bool:
    """Whether ``port`` is ``labgrid://PLACE`` (`keyfob_host.hil.labgrid.place`)."""
    return port.startswith("labgrid://")


def port_name(port: str) -> str:
    """What to call the board on ``port``: the device's own name, ``host:port`` of an address."""
    if not is_url(port):
        return port.rpartition("/")[2]
    scheme, _, rest = port.partition("://")
    return rest.partition("?")[0].strip("/") or scheme


def in_the_clear(port: str) -> str | None:
    """The other machine that all on ``port`` goes to unencrypted; None for a port of this one."""
    if not is_url(port):
        return None
    host, tcp = _address(port)
    try:
        is_here = ip_address(host).is_loopback
    except ValueError:
        is_here = host == "localhost"
    return None if is_here else f"{host}:{tcp}"


def how_to_bring_back(port: str) -> str:
    """The fix for a port that went away: at its cable, or at its server."""
    if not is_url(port):
        return "plug the board in again"
    host, tcp = _address(port)
    return f"see that its server runs and has its device, on {host}: ss -tlnp sport = :{tcp}"


def _address(port: str) -> tuple[str, str]:
    try:
        parts = urlsplit(port)
        return parts.hostname or "HOST", str(parts.port or "PORT")
    except ValueError:
        return "HOST", "PORT"
