"""``keyfob board``: virtual boards, from power-on to every way of failing."""

from __future__ import annotations

from typing import Any

import rich_click as click
from click import get_current_context

from keyfob_host.errors import ExitStatus, KeyfobHostError
from keyfob_host.home import find_home
from keyfob_host.ui import Ui
from keyfob_host.virtual import VirtualBoard, known, running

_DEFAULT = "virtual-esp32"
_DIRECTION = click.Choice(["up", "down", "both"])


@click.group()
def board() -> None:
    """Run virtual boards on this machine, and make them fail."""


_name = click.argument("name", default=_DEFAULT)


def _attach(name: str) -> VirtualBoard:
    return VirtualBoard.attach(find_home(), name)


def _tell(ui: Ui, virtual: VirtualBoard, done: str) -> None:
    info = virtual.info()
    text = f"{virtual.name} {done}: {info['state']}"
    if info["reason"]:
        text += f" ({info['reason']})"
    ui.result(text, info)


@board.command()
@click.argument("kind", default=_DEFAULT)
@click.option("--name", help="Its name; the kind's if not given.")
@click.option("--fresh", is_flag=True, help="With erased flash, whatever was in it.")
@click.option("--off", is_flag=True, help="Do not switch its power on yet.")
@click.pass_obj
def up(ui: Ui, kind: str, name: str | None, fresh: bool, off: bool) -> None:
    """Start a virtual board and switch its power on."""
    home = find_home()
    virtual, started = VirtualBoard.start(
        home, kind, name, powered=not off, fresh=fresh, on_step=ui.step
    )
    info = virtual.info()
    word = "up" if started else "already up"
    ui.result(f"{virtual.name} {word}\n{_lines(info)}", {"started": started, **info})


@board.command(name="list")
@click.pass_obj
def list_(ui: Ui) -> None:
    """List the virtual boards of this bench."""
    home = find_home()
    live = {one.name: one.info() for one in running(home)}
    rows: list[dict[str, Any]] = [
        live.get(name) or {"name": name, "state": "down"} for name in known(home)
    ]
    text = "\n".join(
        f"{row['name']:<20} {row['state']:<10} {row.get('pty', '')}".rstrip() for row in rows
    )
    ui.result(
        text or "no virtual boards; start one: keyfob board up virtual-esp32", {"boards": rows}
    )


@board.command()
@_name
@click.pass_obj
def info(ui: Ui, name: str) -> None:
    """Show a board's state, ports and files."""
    found = _attach(name).info()
    ui.result(_lines(found), found)


@board.command()
@_name
@click.option("--all", "everything", is_flag=True, help="Every virtual board of this bench.")
@click.pass_obj
def down(ui: Ui, name: str, everything: bool) -> None:
    """Switch a board off and end its process; its flash stays."""
    home = find_home()
    boards = [one for one in running(home) if everything or one.name == name]
    if not boards and not everything and name not in known(home):
        raise KeyfobHostError(
            "board.unknown",
            f"this bench never had a virtual board {name!r}",
            evidence=f"there are: {', '.join(known(home)) or 'none'} (in {home.root})",
            fix="keyfob board list",
            status=ExitStatus.BOARD,
        )
    for one in boards:
        one.down()
    names = [one.name for one in boards]
    ui.result(f"down: {', '.join(names) or 'none was up'}", {"down": names})


@board.command()
@_name
@click.pass_obj
def reset(ui: Ui, name: str) -> None:
    """Press the EN button."""
    virtual = _attach(name)
    virtual.reset()
    _tell(ui, virtual, "reset")


@board.command()
@_name
@click.pass_obj
def download(ui: Ui, name: str) -> None:
    """Press EN with IO0 held: the boot ROM waits for esptool."""
    virtual = _attach(name)
    virtual.download_mode()
    _tell(ui, virtual, "reset with IO0 held")


@board.command()
@click.argument("switch", type=click.Choice(["on", "off"]))
@_name
@click.pass_obj
def power(ui: Ui, switch: str, name: str) -> None:
    """Switch a board's supply."""
    virtual = _attach(name)
    virtual.power(switch == "on")
    _tell(ui, virtual, f"power {switch}")


@board.command()
@_name
@click.option("--temperature-c", type=float, help="What the DHT sensor measures, in °C.")
@click.option("--humidity-percent", type=click.FloatRange(0, 100), help="And in percent.")
@click.option("--unplugged", is_flag=True, help="The sensor does not answer.")
@click.pass_obj
def sensor(
    ui: Ui, name: str, temperature_c: float | None, humidity_percent: float | None, unplugged: bool
) -> None:
    """Set what the board's DHT sensor measures; without options, show it."""
    measured = _attach(name).sensor(temperature_c, humidity_percent, unplugged=unplugged)
    text = "unplugged" if measured is None else f"{measured[0]} °C, {measured[1]} %"
    ui.result(text, {"dht": measured})


@board.command()
@_name
@click.option("--pin", type=int, help="The pin the LEDs hang on; any, if not given.")
@click.pass_obj
def pixel(ui: Ui, name: str, pin: int | None) -> None:
    """Show the colours of the board's NeoPixels."""
    colors = _attach(name).neopixel(pin)
    text = "\n".join(f"{number}: {color}" for number, color in enumerate(colors))
    ui.result(text or "nothing was written to a NeoPixel yet", {"colors": colors})


@board.command()
@click.argument("number", type=click.IntRange(0, 39))
@_name
@click.option("--level", type=click.IntRange(0, 1), help="Put this level on it from outside.")
@click.pass_obj
def pin(ui: Ui, number: int, name: str, level: int | None) -> None:
    """Show a pin's level, or set it from outside."""
    seen = _attach(name).pin(number, level)
    ui.result(f"pin {number}: {seen}", {"pin": number, "level": seen})


@board.group()
@click.option("--name", default=_DEFAULT, show_default=True, help="The board.")
@click.pass_context
def fault(ctx: click.Context, name: str) -> None:
    """Make a board, its power, its clock or its link fail."""
    ctx.meta["keyfob.board"] = name


def _faulty() -> VirtualBoard:
    return _attach(str(get_current_context().meta["keyfob.board"]))


@fault.command(name="wifi-down")
@click.pass_obj
def wifi_down(ui: Ui) -> None:
    """Switch the access point off; live connections are cut."""
    virtual = _faulty()
    virtual.wifi(False)
    _tell(ui, virtual, "Wi-Fi down")


@fault.command(name="wifi-up")
@click.pass_obj
def wifi_up(ui: Ui) -> None:
    """Switch the access point on again."""
    virtual = _faulty()
    virtual.wifi(True)
    _tell(ui, virtual, "Wi-Fi up")


@fault.command(name="link-cut")
@click.option("--at-byte", type=click.IntRange(0), help="At this byte of each connection.")
@click.option("--direction", type=_DIRECTION, default="both", show_default=True)
@click.pass_obj
def link_cut(ui: Ui, at_byte: int | None, direction: str) -> None:
    """Reset the live connections now, or each one when a byte of it is to pass."""
    virtual = _faulty()
    if at_byte is None:
        virtual.cut_connections()
    else:
        virtual.link("cut", at_byte=at_byte, direction=direction)
    _tell(ui, virtual, "link cut")


@fault.command(name="link-half-close")
@click.option("--at-byte", type=click.IntRange(0), default=0, show_default=True)
@click.option("--direction", type=_DIRECTION, default="both", show_default=True)
@click.pass_obj
def link_half_close(ui: Ui, at_byte: int, direction: str) -> None:
    """End the stream in one direction."""
    virtual = _faulty()
    virtual.link("half-close", at_byte=at_byte, direction=direction)
    _tell(ui, virtual, "link half-closed")


@fault.command(name="link-stall")
@click.option("--at-byte", type=click.IntRange(0), default=0, show_default=True)
@click.option("--direction", type=_DIRECTION, default="both", show_default=True)
@click.pass_obj
def link_stall(ui: Ui, at_byte: int, direction: str) -> None:
    """Let nothing pass, and close nothing."""
    virtual = _faulty()
    virtual.link("stall", at_byte=at_byte, direction=direction)
    _tell(ui, virtual, "link stalled")


@fault.command(name="link-delay")
@click.argument("delay_ms", type=click.IntRange(1))
@click.option("--direction", type=_DIRECTION, default="both", show_default=True)
@click.pass_obj
def link_delay(ui: Ui, delay_ms: int, direction: str) -> None:
    """Deliver everything DELAY_MS later."""
    virtual = _faulty()
    virtual.link("delay", delay_s=delay_ms / 1000, direction=direction)
    _tell(ui, virtual, "link delayed")


@fault.command(name="link-throttle")
@click.argument("bytes_per_s", type=click.IntRange(1))
@click.option("--direction", type=_DIRECTION, default="both", show_default=True)
@click.pass_obj
def link_throttle(ui: Ui, bytes_per_s: int, direction: str) -> None:
    """Let only BYTES_PER_S pass."""
    virtual = _faulty()
    virtual.link("throttle", bytes_per_s=bytes_per_s, direction=direction)
    _tell(ui, virtual, "link throttled")


@fault.command(name="link-clear")
@click.pass_obj
def link_clear(ui: Ui) -> None:
    """Let everything pass again."""
    virtual = _faulty()
    virtual.link(None)
    _tell(ui, virtual, "link clear")


@fault.command()
@click.argument("unix_s", type=float, required=False)
@click.pass_obj
def clock(ui: Ui, unix_s: float | None) -> None:
    """Set the board's clock to UNIX_S; without it, to the time after power-on (2000)."""
    virtual = _faulty()
    virtual.set_clock(unix_s)
    _tell(ui, virtual, "clock set")


@fault.command(name="power-cut")
@click.argument("operation", type=click.IntRange(0))
@click.pass_obj
def power_cut(ui: Ui, operation: int) -> None:
    """Cut the power in the OPERATION-th flash write or erase from now; 0: never."""
    virtual = _faulty()
    virtual.flash_fault(operation or None)
    _tell(ui, virtual, f"power cut at flash operation {operation}")


@fault.command(name="serial-slow")
@click.argument("baud", type=click.IntRange(0))
@click.pass_obj
def serial_slow(ui: Ui, baud: int) -> None:
    """Slow the serial line to BAUD; 0: as fast as it goes."""
    virtual = _faulty()
    virtual.serial_throttle(baud or None)
    _tell(ui, virtual, f"serial line at {baud} baud" if baud else "serial line at full speed")


def _lines(info: dict[str, Any]) -> str:
    """The facts of a board, one a line."""
    shown = ("name", "kind", "state", "reason", "micropython", "pty", "socket_url", "rfc2217_url",
             "flash", "log")  # fmt: skip
    return "\n".join(f"{key:<12} {info[key]}" for key in shown if info.get(key))
