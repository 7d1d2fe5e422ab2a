"""``keyfob ca``: make and show the certificate authority."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import rich_click as click

from keyfob_host.command_table import command_group
from keyfob_host.commands.passphrase import new_passphrase, passphrase_options
from keyfob_host.home import find_home
from keyfob_host.pki.authority import KEY_FILE, Authority, load_ca_cert, refuse_existing
from keyfob_host.pki.describe import describe, describe_text
from keyfob_host.pki.keys import KEY_TYPES, KeyType, is_encrypted
from keyfob_host.pki.profiles import load_profile
from keyfob_host.ui import Ui

COMMANDS: dict[str, tuple[str, str]] = {
    "init": ("keyfob_host.commands.ca:init", "Make the CA."),
    "show": ("keyfob_host.commands.ca:show", "Show the CA's certificate."),
    "passphrase": ("keyfob_host.commands.ca_passphrase:passphrase", "Change its passphrase."),
    "trust": ("keyfob_host.commands.ca_trust:trust", "Let this machine's programs trust it."),
}


@command_group(COMMANDS)
def ca() -> None:
    """Make and show the bench's certificate authority."""


@click.command()
@click.option("--profile", default="ca", show_default=True, help="A profile of certs/, or a file.")
@click.option("--common-name", help="The CA's name, instead of the profile's.")
@click.option("--key-type", type=click.Choice(KEY_TYPES), help="Instead of the profile's.")
@click.option("--days", type=click.IntRange(1, 36500), help="Validity, instead of the profile's.")
@passphrase_options
@click.option("--no-passphrase", is_flag=True, help="Leave the CA's key in clear.")
@click.option("--force", is_flag=True, help="Replace the CA there is. Its key is lost.")
@click.pass_obj
def init(
    ui: Ui,
    profile: str,
    common_name: str | None,
    key_type: KeyType | None,
    days: int | None,
    passphrase_file: Path | None,
    passphrase_env: str | None,
    no_passphrase: bool,
    force: bool,
) -> None:
    """Make the CA that signs this bench's brokers and devices."""
    home = find_home()
    if not force:
        refuse_existing(home.ca_dir)
    chosen = load_profile(profile, kind="authority")
    chosen = replace(chosen, days=days or chosen.days, key_type=key_type or chosen.key_type)
    passphrase = new_passphrase(passphrase_file, passphrase_env, no_passphrase)
    made = Authority.create(home.ensure().ca_dir, chosen, passphrase, common_name, force)
    fields = describe(made.cert)
    protection = "encrypted" if passphrase else "not encrypted, mode 0600"
    ui.result(
        f"{describe_text(fields)}\nfiles    {home.ca_dir} (key {protection})\n"
        "next     keyfob cert broker broker.keyfob.test --san IP:127.0.0.1",
        {**fields, "folder": str(home.ca_dir), "key_encrypted": passphrase is not None},
    )


@click.command()
@click.pass_obj
def show(ui: Ui) -> None:
    """Show the CA's certificate."""
    home = find_home()
    fields = describe(load_ca_cert(home.ca_dir))
    encrypted = is_encrypted(home.ca_dir / KEY_FILE)
    ui.result(
        f"{describe_text(fields)}\nfiles    {home.ca_dir} "
        f"(key {'encrypted' if encrypted else 'not encrypted'})",
        {**fields, "folder": str(home.ca_dir), "key_encrypted": encrypted},
    )
