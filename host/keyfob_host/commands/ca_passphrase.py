"""``keyfob ca passphrase``: change how the CA's key is protected, without a new key."""

from __future__ import annotations

from pathlib import Path

import rich_click as click

from keyfob_host.commands.passphrase import (
    new_passphrase,
    new_passphrase_options,
    passphrase_options,
    unlock,
)
from keyfob_host.files import KEY_MODE, write_atomic
from keyfob_host.home import find_home
from keyfob_host.pki.ca_folder import signing_key_path
from keyfob_host.pki.keys import key_pem
from keyfob_host.ui import Ui


@click.command()
@passphrase_options
@new_passphrase_options
@click.option("--no-passphrase", is_flag=True, help="Leave the CA's key in clear from now on.")
@click.pass_obj
def passphrase(
    ui: Ui,
    passphrase_file: Path | None,
    passphrase_env: str | None,
    new_passphrase_file: Path | None,
    new_passphrase_env: str | None,
    no_passphrase: bool,
) -> None:
    """Encrypt the CA's key with another passphrase. Certificates stay as they are."""
    folder = find_home().ca_dir
    authority = unlock(folder, passphrase_file, passphrase_env)
    chosen = new_passphrase(
        new_passphrase_file, new_passphrase_env, no_passphrase,
        replacing=True, command="keyfob ca passphrase",
    )  # fmt: skip
    path = signing_key_path(folder)
    write_atomic(path, key_pem(authority.key, chosen), mode=KEY_MODE)
    protection = "encrypted with the new passphrase" if chosen else "not encrypted, mode 0600"
    ui.result(
        f"CA key   {path} ({protection})\n"
        "note     copies made before, in backups, still open with the old passphrase",
        {"file": str(path), "key_encrypted": chosen is not None},
    )
