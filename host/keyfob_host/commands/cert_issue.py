"""``keyfob cert broker`` and ``keyfob cert device``: issue an identity."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any, TypeVar

import rich_click as click

from keyfob_host.commands.passphrase import passphrase_options, unlock
from keyfob_host.home import find_home
from keyfob_host.pki import bench
from keyfob_host.pki.authority import Authority
from keyfob_host.pki.describe import describe, describe_text
from keyfob_host.pki.identity import Identity, refuse_existing
from keyfob_host.pki.inventory_disk import recording
from keyfob_host.pki.keys import KEY_TYPES
from keyfob_host.pki.names import host_san, parse_sans, san_text
from keyfob_host.pki.profiles import load_profile
from keyfob_host.ui import Ui

_Command = TypeVar("_Command", bound=Callable[..., Any])


def _issue_options(command: _Command) -> _Command:
    for option in (
        click.option("--key-type", type=click.Choice(KEY_TYPES), help="Instead of the profile's."),
        click.option("--days", type=click.IntRange(1, 36500), help="Instead of the profile's."),
        click.option("--profile", help="A profile of certs/, or a file."),
        click.option("--force", is_flag=True, help="Replace the identity of that name."),
    ):
        command = option(command)
    return command


@click.command()
@click.argument("name")
@click.option(
    "--san",
    "sans",
    multiple=True,
    metavar="NAME|IP",
    help="Further name or address boards connect to; DNS:… and IP:… are taken too.",
)
@_issue_options
@passphrase_options
@click.pass_obj
def broker(
    ui: Ui,
    name: str,
    sans: tuple[str, ...],
    key_type: str | None,
    days: int | None,
    profile: str | None,
    force: bool,
    passphrase_file: Path | None,
    passphrase_env: str | None,
) -> None:
    """Issue a certificate for broker NAME; NAME itself is in it if it is a DNS name or an IP."""
    home = find_home()
    folder = bench.broker_dir(home, name)
    own = host_san(name)
    wanted = [san_text(one) for one in parse_sans([*([san_text(own)] if own else []), *sans])]
    chosen = load_profile(profile or "broker", kind="broker")
    if not force:
        refuse_existing(folder, name)
    authority = unlock(home.ca_dir, passphrase_file, passphrase_env)
    issued = authority.issue_broker(name, wanted, profile=chosen, key_type=key_type, days=days)
    with recording(home, folder, kind="broker", profile=profile or "broker"):
        issued.write(folder, force=force)
    # While the CA's key is open: `keyfob broker up` then needs no passphrase.
    bench.renew_host_identity(home, authority)
    _show_issued(ui, issued, authority, folder, days, f"keyfob broker up --name {name}")


@click.command()
@click.argument("device_id", metavar="ID")
@_issue_options
@passphrase_options
@click.pass_obj
def device(
    ui: Ui,
    device_id: str,
    key_type: str | None,
    days: int | None,
    profile: str | None,
    force: bool,
    passphrase_file: Path | None,
    passphrase_env: str | None,
) -> None:
    """Issue the identity of device ID (its MQTT user name and topic level)."""
    home = find_home()
    folder = bench.device_dir(home, device_id)
    chosen = load_profile(profile or "device", kind="device")
    if not force:
        refuse_existing(folder, device_id)
    authority = unlock(home.ca_dir, passphrase_file, passphrase_env)
    issued = authority.issue_device(device_id, profile=chosen, key_type=key_type, days=days)
    with recording(home, folder, kind="device", profile=profile or "device"):
        issued.write(folder, force=force)
    _show_issued(ui, issued, authority, folder, days, f"keyfob provision --identity {device_id}")


def _show_issued(
    ui: Ui, issued: Identity, authority: Authority, folder: Path, days: int | None,
    following: str,
) -> None:  # fmt: skip
    end_of_ca = authority.cert.not_valid_after_utc
    wanted = datetime.now(timezone.utc) + timedelta(days=days or 0)
    if wanted > end_of_ca:
        ui.step(f"note: the CA ends on {end_of_ca:%Y-%m-%d}, and so does this certificate")
    fields = describe(issued.cert)
    ui.result(
        f"{describe_text(fields)}\nfiles    {folder}\nnext     {following}",
        {**fields, "name": issued.name, "folder": str(folder)},
    )
