"""Talking to a board over its MicroPython prompt: six operations, two back ends.

`open_transport` gives a `Transport` (exec, eval, read, write, hash, reset) over
mpremote or over ampy; `keyfob_host.transport.files` builds everything else on exec.
Nothing here knows what Keyfob's files mean: that is `keyfob_host.sync` and
`keyfob_host.provision.provisioning`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from keyfob_host.errors import ExitStatus, KeyfobHostError
from keyfob_host.ports import check_port
from keyfob_host.transport.base import Transport

if TYPE_CHECKING:
    from keyfob_host.boards import BoardRef
    from keyfob_host.virtual import VirtualBoard

__all__ = ["Transport", "Via", "connect", "open_transport"]

Via = Literal["mpremote", "ampy"]
DEFAULT_BAUD = 115200


def open_transport(ref: BoardRef, via: Via = "mpremote", *, soft_reset: bool = True) -> Transport:
    """The board's raw REPL, its running program interrupted; use it as a context manager.

    Both back ends open the board's device or PTY. ``soft_reset`` gives the work an
    empty heap: the board runs ``boot.py`` again, but not ``main.py``. Errors: ``port.*``
    and ``board.*`` as in `keyfob_host.transport.failures`, ``board.not-running``.
    """
    ref.check_not_held()
    if ref.virtual is None:
        check_port(ref.port)  # pyserial would share a port with a program that takes no lock
    else:
        _check_running(ref.virtual, ref.kind.name)
    baud, kind = ref.kind.serial.baud, ref.kind.name
    return connect(ref.port, via, baud=baud, soft_reset=soft_reset, board=kind)


def _check_running(virtual: VirtualBoard, kind: str) -> None:
    """A virtual board can say why it gives no prompt; a real one is found out by waiting."""
    info = virtual.info()
    if info["state"] == "running":
        return
    fixes = {
        "bad-image": f"keyfob flash --board {kind}"
        + (f" --name {virtual.name}" if virtual.name != kind else ""),
        "off": f"keyfob board power on {virtual.name}",
    }
    raise KeyfobHostError(
        "board.not-running", f"the virtual board {virtual.name} runs no MicroPython",
        evidence=f"state {info['state']}" + (f": {info['reason']}" if info["reason"] else ""),
        fix=fixes.get(str(info["state"]), f"keyfob board reset {virtual.name}"),
        status=ExitStatus.BOARD,
    )  # fmt: skip


def connect(
    url: str,
    via: Via = "mpremote",
    *,
    baud: int = DEFAULT_BAUD,
    soft_reset: bool = True,
    board: str = "esp32",
    enter_timeout_s: float = 10.0,
) -> Transport:
    """As `open_transport`, for a port given as such.

    ``url`` is a device, a PTY, ``socket://host:port`` or ``rfc2217://host:port`` (the
    last two over mpremote only). ``board`` is the kind that fixes are worded for.
    """
    if via == "ampy":
        from keyfob_host.transport.over_ampy import ampy_transport as make
    else:
        from keyfob_host.transport.over_mpremote import mpremote_transport as make
    transport = make(url, baud=baud, board=board)
    transport.enter(soft_reset=soft_reset, timeout_s=enter_timeout_s)
    return transport
