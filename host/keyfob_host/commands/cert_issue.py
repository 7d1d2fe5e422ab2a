"""``keyfob cert broker`` and ``keyfob cert device``: issue an identity."""

from __future__ import annotations

import sys
from pathlib import Path

import rich_click as click

from keyfob_host.commands.passphrase import passphrase_options, unlock
from keyfob_host.commands.profile_options import end_entity_options
from keyfob_host.files import read_bounded
from keyfob_host.home import Home, find_home
from keyfob_host.pki import bench
from keyfob_host.pki.authority import Authority
from keyfob_host.pki.describe import describe, describe_text
from keyfob_host.pki.identity import Identity, Requested, refuse_existing
from keyfob_host.pki.inventory_disk import open_inventory, recording
from keyfob_host.pki.keys import key_digest
from keyfob_host.pki.names import parse_sans, san_text
from keyfob_host.pki.profiles import load_profile
from keyfob_host.pki.request import (
    MAX_REQUEST_BYTES,
    CertificateRequest,
    check_request,
    read_request,
)
from keyfob_host.pki.revocation import refuse_revoked_key
from keyfob_host.pki.template import san_entries
from keyfob_host.pki.validity import is_cut
from keyfob_host.pki.variables import parse_variables
from keyfob_host.ui import Ui

_force = click.option("--force", is_flag=True, help="Replace the identity of that name.")


@click.command()
@click.argument("name")
@click.option(
    "--san",
    "sans",
    multiple=True,
    metavar="NAME|IP",
    help="Further name or address boards connect to; DNS:… and IP:… are taken too.",
)
@_force
@end_entity_options
@passphrase_options
@click.pass_obj
def broker(
    ui: Ui,
    name: str,
    sans: tuple[str, ...],
    key_type: str | None,
    days: int | None,
    profile: str | None,
    variables: tuple[str, ...],
    force: bool,
    passphrase_file: Path | None,
    passphrase_env: str | None,
) -> None:
    """Issue a certificate for broker NAME; NAME itself is in it if it is a DNS name or an IP."""
    home = find_home()
    folder = bench.broker_dir(home, name)
    chosen = load_profile(profile or "broker", kind="broker", variables=parse_variables(variables))
    given = [san_text(one) for one in parse_sans(sans)]
    wanted = list(dict.fromkeys([*map(san_text, san_entries(chosen.san, name)), *given]))
    if not force:
        refuse_existing(folder, name)
    authority = unlock(home.ca_dir, passphrase_file, passphrase_env)
    issued = authority.issue_broker(name, wanted, profile=chosen, key_type=key_type, days=days)
    with recording(home, folder, kind="broker", profile=profile or "broker"):
        issued.write(folder, force=force)
    # While the CA's key is open: `keyfob broker up` then needs no passphrase.
    bench.renew_host_identity(home, authority)
    _show_issued(ui, issued, authority, folder, f"keyfob broker up --name {name}")


@click.command()
@click.argument("device_id", metavar="[ID]", required=False)
@click.option(
    "--csr", metavar="FILE",
    help="A certificate request (PEM or DER, - for standard input): the key stays where it is.",
)  # fmt: skip
@_force
@end_entity_options
@passphrase_options
@click.pass_obj
def device(
    ui: Ui,
    device_id: str | None,
    csr: str | None,
    key_type: str | None,
    days: int | None,
    profile: str | None,
    variables: tuple[str, ...],
    force: bool,
    passphrase_file: Path | None,
    passphrase_env: str | None,
) -> None:
    """Issue the identity of device ID (its MQTT user name and topic level).

    With --csr the certificate is for the key in that request, and ID is the common name
    in it. Nothing else is taken from a request; what was left out is told.
    """
    home = find_home()
    chosen = load_profile(profile or "device", kind="device", variables=parse_variables(variables))
    request = None if csr is None else _read_request(csr)
    if request is not None:
        if key_type is not None:
            raise click.UsageError("--key-type: a request brings its own key.")
        check_request(request, device_id=device_id, keys=None, profile_keys=chosen.request_keys)
    elif device_id is None:
        raise click.UsageError("Give the device's ID, or a request with --csr FILE.")
    name = device_id or (request.name if request else "")
    folder = bench.device_dir(home, name)
    if not force:
        refuse_existing(folder, name)
    if request is not None:
        _check_key(ui, home, name, request)
    authority = unlock(home.ca_dir, passphrase_file, passphrase_env)
    if request is None:
        issued: Identity | Requested = authority.issue_device(
            name, profile=chosen, key_type=key_type, days=days
        )
        following = f"keyfob provision --identity {name}"
    else:
        issued = authority.issue_from_request(request, profile=chosen, days=days)
        following = f"bring {folder / 'chain.pem'} to where the key is"
        if request.not_taken_over:
            ui.step("note: not taken over from the request: " + "; ".join(request.not_taken_over))
    with recording(home, folder, kind="device", profile=profile or "device"):
        issued.write(folder, force=force)
    _show_issued(ui, issued, authority, folder, following)


def _read_request(csr: str) -> CertificateRequest:
    if csr == "-":
        content = sys.stdin.buffer.read(MAX_REQUEST_BYTES + 1)
        return read_request(content, source="standard input")
    return read_request(read_bounded(Path(csr), "read the request"), source=csr)


def _check_key(ui: Ui, home: Home, name: str, request: CertificateRequest) -> None:
    """Refuse a key that was revoked, and tell if another device has it."""
    inventory, _ = open_inventory(home)
    with inventory:
        refuse_revoked_key(inventory, name, request.public_key)
        holders = inventory.with_key(key_digest(request.public_key))
        others = {one.name for one in holders} - {name}
    if others:
        ui.step(f"note: this key has a certificate as {', '.join(sorted(others))} too")


def _show_issued(
    ui: Ui, issued: Identity | Requested, authority: Authority, folder: Path, following: str
) -> None:
    if is_cut(issued.cert, authority.cert):
        end = issued.cert.not_valid_after_utc
        ui.step(f"note: the CA ends on {end:%Y-%m-%d}, and so does this certificate")
    fields = describe(issued.cert)
    data = {**fields, "name": issued.name, "folder": str(folder)}
    place = str(folder)
    if isinstance(issued, Requested):
        place += " (no key: it stays where the request was made)"
        data["not_taken_over"] = list(issued.request.not_taken_over)
    ui.result(f"{describe_text(fields)}\nfiles    {place}\nnext     {following}", data)
