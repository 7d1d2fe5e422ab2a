"""``keyfob broker``: run mosquitto with mutual TLS."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import rich_click as click

from keyfob_host.broker import DEFAULT_PORT, MosquittoBroker
from keyfob_host.broker_bench import broker_down, broker_status, broker_up, not_running
from keyfob_host.commands.passphrase import passphrase_options, unlock
from keyfob_host.home import find_home
from keyfob_host.ui import Ui


@click.group()
def broker() -> None:
    """Run this bench's MQTT broker: mosquitto with mutual TLS."""


@broker.command()
@click.option("--name", help="Its identity; needed if the bench has several.")
@click.option(
    "--san", "sans", multiple=True, metavar="NAME|IP",
    help="What its certificate must cover. One that is missing is issued for it.",
)  # fmt: skip
@click.option(
    "--port", type=click.IntRange(0, 65535), default=DEFAULT_PORT, show_default=True,
    help="TCP port; 0 takes a free one.",
)  # fmt: skip
@click.option(
    "--bind", default="127.0.0.1", show_default=True,
    help="Address to listen on; 0.0.0.0 for real boards.",
)  # fmt: skip
@click.option(
    "--tap", is_flag=True, help="With a TLS tap on the port: what passes is in tap.jsonl."
)
@passphrase_options
@click.pass_obj
def up(
    ui: Ui,
    name: str | None,
    sans: tuple[str, ...],
    port: int,
    bind: str,
    tap: bool,
    passphrase_file: Path | None,
    passphrase_env: str | None,
) -> None:
    """Start the broker, and wait until it really lets a client in."""
    home = find_home()
    _, started = broker_up(
        home, name=name, sans=sans, host=bind, port=port, tap=tap,
        unlock=lambda: unlock(home.ca_dir, passphrase_file, passphrase_env),
    )  # fmt: skip
    state = broker_status(home)
    word = "up" if started else "already up"
    ui.result(f"broker {word}: {_sentence(state)}", {"started": started, **state})


@broker.command()
@click.pass_obj
def status(ui: Ui) -> None:
    """Show pid, port, uptime and certificate, and whether a client gets in."""
    state = broker_status(find_home())
    takes = "accepts clients" if state["accepting"] else f"refuses clients: {state['trouble']}"
    ui.result(f"broker up: {_sentence(state)}\n{takes}; log {state['log']}", state)


@broker.command()
@click.pass_obj
def down(ui: Ui) -> None:
    """Stop the broker."""
    pid = broker_down(find_home())
    ui.result("broker was not running" if pid is None else "broker down", {"pid": pid})


@broker.command()
@click.option("--lines", type=click.IntRange(1), default=100, show_default=True)
@click.pass_obj
def log(ui: Ui, lines: int) -> None:
    """Show the end of the broker's log, also after it ended."""
    home = find_home()
    path = home.broker_dir / MosquittoBroker.LOG
    if not path.exists():
        raise not_running()
    with path.open(encoding="utf-8", errors="replace") as file:
        text = file.read().splitlines()[-lines:]
    ui.result("\n".join(text), {"lines": text})


def _sentence(state: dict[str, object]) -> str:
    crl = state["crl_next_update"]
    revoking = f"; CRL until {str(crl)[:10]}" if crl else ""
    return (
        f"{state['name']} on {state['host']}:{state['port']}, pid {state['pid']}, "
        f"{state['uptime_s']} s; certificate until {str(state['not_after'])[:10]} "
        f"({state['days_left']} days){revoking}{_tapped(state['tap'])}"
    )


def _tapped(tap: Any) -> str:
    if tap is None:
        return ""
    runs = f"pid {tap['pid']}" if tap["pid"] else "which has ended"
    return f"; behind a tap, {runs}: {tap['events']}"
