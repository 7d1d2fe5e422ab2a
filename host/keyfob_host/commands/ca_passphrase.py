"""``keyfob ca passphrase``: change how the CA's key is protected, without a new key."""

from __future__ import annotations

from pathlib import Path
from shlex import quote

import rich_click as click

from keyfob_host.commands.passphrase import (
    ask_passphrase,
    given_passphrase,
    new_passphrase,
    new_passphrase_options,
    passphrase_options,
)
from keyfob_host.errors import ExitStatus, KeyfobHostError, explain_os_error
from keyfob_host.files import KEY_MODE, read_bounded, write_atomic
from keyfob_host.home import find_home
from keyfob_host.pki.ca_folder import KEY_FILE, load_ca_cert, signing_key_path
from keyfob_host.pki.keys import PrivateKey, is_encrypted, is_in_token, key_pem, load_key
from keyfob_host.pki.pkcs11_file import read_token_pem
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
    """Encrypt the CA's key with another passphrase. Certificates stay as they are.

    With an intermediate, its key and the root's, if that is here and opens too.
    """
    paths = _key_files(find_home().ca_dir)
    old = given_passphrase(passphrase_file, passphrase_env)
    if old is None and any(map(is_encrypted, paths)):
        old = ask_passphrase("Passphrase of the CA's key")
    keys = _open(ui, paths, old)
    chosen = new_passphrase(
        new_passphrase_file, new_passphrase_env, no_passphrase,
        replacing=True, command="keyfob ca passphrase",
    )  # fmt: skip
    for path, key in keys.items():
        write_atomic(path, key_pem(key, chosen), mode=KEY_MODE)
        _remove_remains(path)
    protection = "encrypted with the new passphrase" if chosen else "not encrypted, mode 0600"
    ui.result(
        "\n".join(f"CA key   {path} ({protection})" for path in keys)
        + "\nnote     copies made before, in backups, still open with the old passphrase",
        {"files": list(map(str, keys)), "key_encrypted": chosen is not None},
    )


def _remove_remains(path: Path) -> None:
    """Remove what a change that was killed left: the key, with another passphrase or none."""
    with explain_os_error(path, "remove what an earlier change left"):
        for remains in path.parent.glob(f".{path.name}.*"):
            remains.unlink()


def _key_files(folder: Path) -> list[Path]:
    """The files with the CA's keys, the one that signs first."""
    load_ca_cert(folder)  # "no CA yet" comes before any question
    signing, root = signing_key_path(folder), folder / KEY_FILE
    paths = [signing] if root == signing or not root.exists() else [signing, root]
    kept = [path for path in paths if not is_in_token(path)]
    if kept:
        return kept
    uri = read_token_pem(read_bounded(signing, "read the CA key"), str(signing))
    raise KeyfobHostError(
        "pkcs11.own-pin",
        "the CA's key is in a token: its PIN is changed with the token's own program",
        evidence=str(uri),
        fix=f"pkcs11-tool --module {quote(uri.module_path)} --login --change-pin",
        status=ExitStatus.IDENTITY,
    )


def _open(ui: Ui, paths: list[Path], old: bytes | None) -> dict[Path, PrivateKey]:
    """The keys that the passphrase opens: the one that signs, and the root's."""
    keys = {paths[0]: load_key(paths[0], "the CA key", passphrase=old)}
    for path in paths[1:]:
        try:
            keys[path] = load_key(path, "the root's key", passphrase=old)
        except KeyfobHostError as error:
            if error.code not in ("cert.passphrase-needed", "cert.passphrase-wrong"):
                raise
            ui.step("note: the root's key has another passphrase, and keeps it")
    return keys
