"""``keyfob ntp``: run the bench's time server."""

from __future__ import annotations

from typing import Any

import rich_click as click

from keyfob_host.home import find_home
from keyfob_host.ntp import DEFAULT_PORT, Mode
from keyfob_host.ntp_daemon import ntp_down, ntp_status, ntp_up
from keyfob_host.ui import Ui


@click.group()
def ntp() -> None:
    """Run this bench's time server, truthful or lying on purpose."""


@ntp.command()
@click.option(
    "--port", type=click.IntRange(0, 65535), default=DEFAULT_PORT, show_default=True,
    help="UDP port; 0 takes a free one.",
)  # fmt: skip
@click.option(
    "--bind", default="127.0.0.1", show_default=True,
    help="Address to listen on; 0.0.0.0 for real boards.",
)  # fmt: skip
@click.option(
    "--mode", type=click.Choice([mode.value for mode in Mode]), default=Mode.OK.value,
    show_default=True, help="How to answer; all but ok is to be refused by a board.",
)  # fmt: skip
@click.option("--offset-s", type=float, default=0.0, help="Seconds to be ahead of the true time.")
@click.pass_obj
def up(ui: Ui, port: int, bind: str, mode: str, offset_s: float) -> None:
    """Start the time server."""
    state, started = ntp_up(
        find_home(), host=bind, port=port, mode=Mode(mode), offset_s=offset_s
    )  # fmt: skip
    word = "up" if started else "already up"
    ui.result(f"time server {word}: {_sentence(state)}", {"started": started, **state})


@ntp.command()
@click.pass_obj
def status(ui: Ui) -> None:
    """Show pid, port and what it answers right now."""
    state = ntp_status(find_home())
    ui.result(f"time server up: {_sentence(state)}", state)


@ntp.command()
@click.pass_obj
def down(ui: Ui) -> None:
    """Stop the time server."""
    pid = ntp_down(find_home())
    ui.result("time server was not running" if pid is None else "time server down", {"pid": pid})


def _sentence(state: dict[str, Any]) -> str:
    answer = state["answer"]
    says = (
        f"stratum {answer['stratum']}, {answer['offset_s']:+.3f} s from this machine's clock"
        if answer
        else "no usable answer"
    )
    return f"{state['host']}:{state['port']}, pid {state['pid']}, mode {state['mode']}: {says}"
