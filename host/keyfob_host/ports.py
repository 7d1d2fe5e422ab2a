"""Why a serial port cannot be used: missing, held by another program, not permitted.

Looks at the device file, at ``/proc`` and at the user's groups; opens nothing,
because opening a port moves DTR and RTS and may reset the board behind it. Who holds
a port can be told on Linux only, and other users' processes only by root.
"""

from __future__ import annotations

import grp
import os
import pwd
import socket
import stat
import sys
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from serial.tools import list_ports

from keyfob_host.errors import ExitStatus, KeyfobHostError

_PROC = Path("/proc")
_ESTABLISHED = "01"  # in /proc/net/tcp


@dataclass(frozen=True)
class Holder:
    """A process that has a device open."""

    pid: int
    name: str

    def __str__(self) -> str:
        return f"{self.name} (pid {self.pid})"


def is_url(port: str) -> bool:
    """True for ``socket://…`` and ``rfc2217://…``: no device of this machine."""
    return "://" in port


def describe_ports() -> str:
    """The serial ports of this machine with what is plugged in, one line each."""
    ports = sorted(list_ports.comports(), key=lambda port: port.device)
    return "\n".join(f"{port.device}: {port.description}" for port in ports) or "none"


def port_not_given(kind_name: str) -> KeyfobHostError:
    """The error for a real board without ``--port``."""
    ports = sorted(port.device for port in list_ports.comports() if port.vid is not None)
    return KeyfobHostError(
        "port.not-given",
        f"{kind_name} is a real board: say which serial port it is on",
        evidence=f"serial ports here: {describe_ports()}",
        fix=f"--port {ports[0]}"
        if ports
        else "plug the board in with a data cable; the kernel's view: dmesg | tail",
        status=ExitStatus.USAGE,
    )


def check_port(port: str, *, alone: bool = True) -> None:
    """Refuse a port that is not there, not permitted or (``alone``) open elsewhere.

    Of a URL only this machine's own clients are known; some servers let in several.

    Errors: ``port.missing``, ``port.no-permission``, ``port.busy``, ``port.not-a-port``.
    """
    if is_url(port):
        clients = socket_clients(port) if alone else []
        if clients:
            raise port_busy(port, clients)
        return
    try:
        status = Path(port).stat()
    except OSError as error:
        raise port_missing(port) from error
    if not stat.S_ISCHR(status.st_mode):
        raise KeyfobHostError(
            "port.not-a-port", f"{port} is no serial port",
            evidence=f"{port}: {stat.filemode(status.st_mode)}\nserial ports here: "
            + describe_ports(), fix=f"ls -l {port}", status=ExitStatus.HOST,
        )  # fmt: skip
    if not os.access(port, os.R_OK | os.W_OK):
        raise port_not_permitted(port)
    if alone and holders(port):
        raise port_busy(port)


def port_missing(port: str) -> KeyfobHostError:
    """``port.missing``, with the ports that are there."""
    return KeyfobHostError(
        "port.missing",
        f"there is no serial port {port}",
        evidence=f"serial ports here: {describe_ports()}",
        fix="plug the board in with a data cable (not one for charging only), "
        "then see which port appears: ls /dev/ttyUSB* /dev/ttyACM*",
        status=ExitStatus.HOST,
    )


def port_busy(port: str, held_by: list[Holder] | None = None) -> KeyfobHostError:
    """``port.busy``, with the processes that hold it as far as this user may see them."""
    held_by = holders(port) if held_by is None else held_by
    if held_by:
        names = ", ".join(str(holder) for holder in held_by)
        evidence = f"{port} is open in {names}"
        fix = f"end that program, for example: kill {held_by[0].pid}"
    else:
        evidence = f"{port} is locked by a process that this user may not look into"
        fix = f"see who it is: sudo fuser -v {port}"
    return KeyfobHostError(
        "port.busy", f"{port} is in use by another program",
        evidence=evidence, fix=fix, status=ExitStatus.HOST,
    )  # fmt: skip


def port_not_permitted(port: str) -> KeyfobHostError:
    """``port.no-permission``, with the group that may use the port."""
    try:
        status = Path(port).stat()
        user = pwd.getpwuid(os.getuid()).pw_name
    except (OSError, KeyError):
        return port_missing(port)
    group = _group_name(status.st_gid)
    mode = stat.filemode(status.st_mode)
    if status.st_mode & 0o060 != 0o060 or status.st_gid == 0:
        fix = f"sudo chgrp dialout {port} && sudo chmod g+rw {port}"
    elif user in _members(status.st_gid):
        fix = (
            f"log out and in again (this session is older than the membership), or: newgrp {group}"
        )
    else:
        fix = f"sudo usermod -aG {group} {user}, then log out and in again"
    return KeyfobHostError(
        "port.no-permission",
        f"the user {user} may not open {port}",
        evidence=f"{port}: {mode}, owner {_user_name(status.st_uid)}, group {group}; "
        f"{user} is in {', '.join(sorted(_group_name(gid) for gid in os.getgroups())) or 'none'}",
        fix=fix,
        status=ExitStatus.HOST,
    )


def holders(port: str) -> list[Holder]:
    """The processes that have the device ``port`` open, without the one behind a PTY.

    The master's holder of a pseudo terminal plays the board itself, so it does not count.
    """
    try:
        device = Path(port).stat().st_rdev
    except OSError:
        return []
    found = []
    for process in _PROC.glob("[0-9]*"):
        if _holds(process, device) and not _is_behind(process, Path(port)):
            found.append(Holder(int(process.name), _name(process)))
    return sorted(found, key=lambda holder: holder.pid)


def _holds(process: Path, device: int) -> bool:
    for descriptor in _descriptors(process):
        try:
            status = descriptor.stat()  # follows the link to the open file itself
        except OSError:
            continue
        if stat.S_ISCHR(status.st_mode) and status.st_rdev == device:
            return True
    return False


def socket_clients(url: str) -> list[Holder]:
    """The processes of this machine connected to the ``socket://`` or ``rfc2217://`` URL."""
    try:
        remotes = _peers(url)
        rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    except (OSError, ValueError):
        return []
    links = {f"socket:[{row[9]}]" for row in rows if row[2] in remotes and row[3] == _ESTABLISHED}
    found: list[Holder] = []
    if not links:
        return found
    for process in _PROC.glob("[0-9]*"):
        for descriptor in _descriptors(process):
            try:
                if str(descriptor.readlink()) in links:
                    found.append(Holder(int(process.name), _name(process)))
                    break
            except OSError:
                continue
    return found


def _peers(url: str) -> set[str]:
    """IPv4 addresses of ``url``, as ``/proc/net/tcp`` has them (in this machine's byte order)."""
    parts = urlsplit(url)
    known = socket.getaddrinfo(parts.hostname, None, socket.AF_INET, socket.SOCK_STREAM)
    hosts = {socket.inet_aton(str(address[0])) for *_, address in known}
    return {f"{int.from_bytes(host, sys.byteorder):08X}:{parts.port or 0:04X}" for host in hosts}


def _is_behind(process: Path, port: Path) -> bool:
    """True if ``process`` holds the master of the pseudo terminal ``port``."""
    real = port.resolve()
    if real.parent != Path("/dev/pts"):
        return False
    for descriptor in _descriptors(process):
        try:
            if str(descriptor.readlink()) not in ("/dev/ptmx", "/dev/pts/ptmx"):
                continue
            info = (process / "fdinfo" / descriptor.name).read_text()
        except OSError:
            continue
        if f"tty-index:\t{real.name}\n" in info:
            return True
    return False


def _descriptors(process: Path) -> list[Path]:
    try:
        return list((process / "fd").iterdir())
    except OSError:  # ended meanwhile, or another user's
        return []


def _name(process: Path) -> str:
    try:
        return (process / "comm").read_text().strip()
    except OSError:
        return "?"


def _group_name(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)


def _user_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _members(gid: int) -> list[str]:
    try:
        return list(grp.getgrgid(gid).gr_mem)
    except KeyError:
        return []
