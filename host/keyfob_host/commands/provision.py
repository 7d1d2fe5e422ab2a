"""``keyfob provision``: identity and settings to the board."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path
from typing import Any

import rich_click as click

from keyfob_host.boards import open_board
from keyfob_host.commands.board_options import board_options
from keyfob_host.commands.provision_key import KeyOptions, key_options, provision_key
from keyfob_host.errors import ExitStatus, KeyfobHostError
from keyfob_host.files import read_bounded
from keyfob_host.home import Home, find_home
from keyfob_host.pki.identity import load_certs
from keyfob_host.pki.inventory import inventory_path
from keyfob_host.pki.inventory_disk import open_inventory, record_board
from keyfob_host.pki.revocation import refuse_revoked
from keyfob_host.provision.board_name import board_name
from keyfob_host.provision.provisioning import (
    Settings,
    bench_settings,
    find_identity,
    provision_board,
)
from keyfob_host.provision.settings import parse_set
from keyfob_host.provision.which_identity import which_identity
from keyfob_host.remote_ports import in_the_clear
from keyfob_host.transport import Via
from keyfob_host.ui import Ui


@click.command()
@board_options
@click.option("--identity", metavar="ID|DIR", help="A device of this bench, or a folder.")
@key_options
@click.option("--broker", metavar="HOST[:PORT]", help="As in the broker's certificate.")
@click.option("--ntp", multiple=True, metavar="HOST[:PORT]", help="Time server; may be repeated.")
@click.option("--wifi-ssid", help="Wi-Fi network. Its password is asked for.")
@click.option("--wifi-password-file", type=click.Path(path_type=Path), help="Its first line.")
@click.option("--wifi-password-env", metavar="VARIABLE", help="Environment variable with it.")
@click.option("--app", help="Application: a module of apps/.")
@click.option("--set", "sets", multiple=True, metavar="KEY=VALUE", help="As app.period_s=5.")
@click.option(
    "--via", type=click.Choice(["mpremote", "ampy"]), default="mpremote", help="Uploader."
)
@click.option("--dry-run", is_flag=True, help="Show what would be written; write nothing.")
@click.option("--no-reset", is_flag=True, help="Leave the board at its prompt.")
@click.pass_obj
def provision(
    ui: Ui,
    /,
    kind: str,
    port: str | None,
    name: str | None,
    identity: str | None,
    broker: str | None,
    ntp: tuple[str, ...],
    wifi_ssid: str | None,
    wifi_password_file: Path | None,
    wifi_password_env: str | None,
    app: str | None,
    sets: tuple[str, ...],
    via: Via,
    dry_run: bool,
    no_reset: bool,
    **given: Any,
) -> None:
    """Write a device's identity and settings to the board, and restart it.

    What is not given stays as it is on the board, --identity included: that of a board
    without one is the bench's only one. A virtual board gets the bench's access point,
    and the bench's broker and time server if they run.

    With --key-on-board the board makes its private key itself and keeps it; without
    --identity its serial number is the device's id. The bench's CA signs, or one
    elsewhere: first --csr-out, then --chain.
    """
    key = KeyOptions(**given)
    key.check(identity, dry_run)
    home = find_home()
    settings = Settings(
        broker=broker,
        ntp=ntp,
        wifi_ssid=wifi_ssid,
        wifi_password=_wifi_password(wifi_ssid, wifi_password_file, wifi_password_env),
        app={"name": app} if app else {},
        extra=parse_set(sets),
    )
    ref = open_board(kind, port, name=name, home=home, on_step=ui.step)
    if ref.virtual is not None:
        settings = bench_settings(settings, home)
    if key.key_on_board:
        provision_key(ui, ref, home, identity, settings, key, via, not no_reset)
        return
    if identity is None:
        identity = which_identity(home, ref, via)
        ui.step(f"identity {identity}: none was named")
    folder, device_id = find_identity(home, identity)
    _check_not_revoked(home, folder)
    where = in_the_clear(ref.port)
    if where is not None and not dry_run:
        ui.step(
            f"the private key goes to {where} unencrypted: keep that to a network of your own, "
            "or have the board make its key: --key-on-board"
        )
    names: list[str] = []
    with ref.held():
        report = provision_board(
            ref,
            folder,
            settings,
            device_id=device_id,
            via=via,
            reset=not no_reset,
            dry_run=dry_run,
            on_step=ui.step,
            on_written=lambda board: names.append(board_name(ref, board)),
        )
    for written_to in names:
        record_board(home, report.digests["cert.der"], written_to)
    ui.result(report.summary(), report.as_dict())


def _check_not_revoked(home: Home, folder: Path) -> None:
    """Raise ``cert.revoked`` where the bench's brokers would refuse it."""
    file = folder / "cert.pem"
    if not inventory_path(home).exists() or not file.exists():
        return  # from elsewhere, or none: that is told where it is read
    inventory, _ = open_inventory(home)
    with inventory:
        refuse_revoked(inventory, load_certs(file, "the certificate")[0], folder.name)


def _wifi_password(ssid: str | None, file: Path | None, variable: str | None) -> str | None:
    """From the file, the environment, or the terminal; never from the command line."""
    if file is not None and variable is not None:
        raise click.UsageError("Give one source for the Wi-Fi password only.")
    if file is not None:
        return _from_file(file)
    if variable is not None:
        if variable not in os.environ:
            raise _no_password(f"environment variable {variable} is not set")
        return os.environ[variable]
    if ssid is None:
        return None
    if not sys.stdin.isatty():
        raise _no_password("no terminal to ask on")
    asked: str = click.prompt(
        f"Password of {ssid} (empty: open network)",
        hide_input=True, default="", show_default=False, err=True,
    )  # fmt: skip
    return asked


def _from_file(file: Path) -> str:
    content = read_bounded(file, "read the Wi-Fi password")
    mode = file.stat().st_mode
    if stat.S_ISREG(mode) and mode & 0o077:
        raise KeyfobHostError(
            "provision.password-exposed",
            "the file with the Wi-Fi password can be read by others on this machine",
            evidence=f"{file}: mode {stat.S_IMODE(mode):04o}, expected 0600",
            fix=f"chmod 600 {file}",
        )
    try:
        lines = content.decode().splitlines()
    except UnicodeDecodeError:
        lines = []
    if not lines:
        raise _no_password(f"{file} has no first line of text")
    return lines[0]


def _no_password(evidence: str) -> KeyfobHostError:
    return KeyfobHostError(
        "provision.no-wifi-password", "there is no Wi-Fi password where it was said to be",
        evidence=evidence,
        fix="--wifi-password-file FILE or --wifi-password-env VARIABLE",
        status=ExitStatus.USAGE,
    )  # fmt: skip
