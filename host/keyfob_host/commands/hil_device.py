"""``keyfob hil run --device external``: what a device of any make takes, and what it excludes."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import rich_click as click

from keyfob_host.broker import DEFAULT_PORT
from keyfob_host.commands.passphrase import passphrase_options, unlock
from keyfob_host.home import Home

if TYPE_CHECKING:
    from keyfob_host.hil.external import ExternalOptions

DEFAULT_SUITES = ("advisor",)
_WAIT_S = 300
_Command = TypeVar("_Command", bound=Callable[..., Any])
# By the names of their parameters.
_OF_DEVICES = {
    "bench_port": "--bench-port", "client_id": "--client-id", "device_wait": "--device-wait",
    "passphrase_file": "--passphrase-file", "passphrase_env": "--passphrase-env",
}  # fmt: skip
_OF_BOARDS = {
    "port": "--port", "name": "--name", "boards": "--boards", "bench_file": "--bench",
    "wifi_ssid": "--wifi-ssid",
}  # fmt: skip


def device_options(command: _Command) -> _Command:
    """``--device`` and the options that go with it."""
    for option in (
        passphrase_options,
        click.option(
            "--device-wait", type=click.IntRange(1, 86_400), metavar="SECONDS",
            help=f"How long it may take to connect at first (default {_WAIT_S}).",
        ),
        click.option("--client-id", metavar="NAME", help="Its client identifier: no other counts."),
        click.option(
            "--bench-port", type=click.IntRange(1, 65535), metavar="PORT",
            help=f"The broker's port, for such a device (default {DEFAULT_PORT}).",
        ),
        click.option(
            "--device", type=click.Choice(["external"]),
            help="In place of a board: any device that connects to the bench's broker.",
        ),
    ):  # fmt: skip
        command = option(command)
    return command


def chosen_device(home: Home, given: dict[str, Any]) -> ExternalOptions | None:
    """The device that the options ask for; None if they are about a board.

    Errors: those of `ExternalOptions.resolve` and of the CA's key.
    """
    is_device = given["device"] is not None
    others = _OF_BOARDS if is_device else _OF_DEVICES
    wrong = [option for name, option in others.items() if given[name] is not None]
    if wrong:
        why = "is about a board" if is_device else "goes with --device external"
        raise click.UsageError(f"{wrong[0]} {why}.")
    if not is_device:
        return None
    from keyfob_host.hil.external import ExternalOptions

    return ExternalOptions.resolve(
        home,
        lambda: unlock(home.ca_dir, given["passphrase_file"], given["passphrase_env"]),
        address=given["bench_address"],
        port=given["bench_port"] or DEFAULT_PORT,
        client_id=given["client_id"],
        wait_s=given["device_wait"] or _WAIT_S,
    )
