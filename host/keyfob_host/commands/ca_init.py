"""``keyfob ca init``, ``intermediate`` and ``show``: make the authority, and look at it."""

from __future__ import annotations

from pathlib import Path
from shlex import quote
from typing import Any

import rich_click as click

from keyfob_host.commands.ca_token import token_key, token_options
from keyfob_host.commands.passphrase import (
    ask_passphrase,
    given_new_passphrase,
    given_passphrase,
    new_passphrase,
    new_passphrase_options,
    passphrase_options,
)
from keyfob_host.commands.profile_options import (
    AuthorityProfile,
    authority_options,
    intermediate_options,
    load_intermediate,
)
from keyfob_host.errors import KeyfobHostError
from keyfob_host.home import Home, find_home
from keyfob_host.pki.authority import Authority
from keyfob_host.pki.ca_folder import (
    ISSUING,
    KEY_FILE,
    issuing_exists,
    load_ca_cert,
    load_issuing_cert,
    refuse_existing,
    signing_folder,
)
from keyfob_host.pki.crl import crl_path
from keyfob_host.pki.describe import describe, describe_text
from keyfob_host.pki.inventory_disk import open_inventory, recording
from keyfob_host.pki.inventory_row import key_id
from keyfob_host.pki.keys import is_encrypted, is_in_token
from keyfob_host.pki.revocation import crl_states, sign_crls, sign_last_crl
from keyfob_host.pki.validity import now_utc
from keyfob_host.ui import Ui

_AWAY = "not on this machine"


@click.command()
@click.option(
    "--intermediate", is_flag=True,
    help="A root, and below it an intermediate that signs everything else.",
)  # fmt: skip
@authority_options(whose="The CA's", issuing="The profile of the intermediate.")
@passphrase_options
@click.option("--no-passphrase", is_flag=True, help="Leave the CA's key in clear.")
@token_options
@click.option("--force", is_flag=True, help="Replace the CA there is. Its key is lost.")
@click.pass_obj
def init(
    ui: Ui,
    intermediate: bool,
    ca_profile: AuthorityProfile,
    passphrase_file: Path | None,
    passphrase_env: str | None,
    no_passphrase: bool,
    pkcs11: str | None,
    existing_key: bool,
    force: bool,
) -> None:
    """Make the CA that signs this bench's brokers and devices.

    With --intermediate, --common-name, --key-type and --days are the root's, and both
    keys get the one passphrase. The root's key may be taken off this machine afterwards.
    With --pkcs11 the key is in a token and stays there; the passphrase is its PIN.
    """
    if pkcs11 is None and existing_key:
        raise click.UsageError("--existing-key is for --pkcs11.")
    if pkcs11 is not None and (intermediate or no_passphrase):
        raise click.UsageError(
            "With --pkcs11 there is a PIN, and an intermediate comes after: "
            "keyfob ca init --profile root --pkcs11 …, then keyfob ca intermediate."
        )
    home = find_home()
    if not force:
        refuse_existing(home.ca_dir)
    chosen, issuing = ca_profile.load(with_issuing=intermediate)
    common_name = ca_profile.common_name
    if pkcs11 is not None:
        pin = given_passphrase(passphrase_file, passphrase_env)
        with token_key(ui, pkcs11, pin, chosen.key_type, existing=existing_key) as key:
            Authority.create(home.ensure().ca_dir, chosen, None, common_name, force, key=key)
    else:
        passphrase = new_passphrase(passphrase_file, passphrase_env, no_passphrase)
        Authority.create(home.ensure().ca_dir, chosen, passphrase, common_name, force, issuing)
    _show(ui, home, "keyfob cert broker broker.keyfob.test --san IP:127.0.0.1")


@click.command()
@intermediate_options
@passphrase_options
@new_passphrase_options
@click.option("--no-passphrase", is_flag=True, help="Leave the intermediate's key in clear.")
@click.option("--force", is_flag=True, help="Replace the intermediate there is. Its key is lost.")
@click.pass_obj
def intermediate(
    ui: Ui,
    profile: str,
    variables: tuple[str, ...],
    days: int | None,
    passphrase_file: Path | None,
    passphrase_env: str | None,
    new_passphrase_file: Path | None,
    new_passphrase_env: str | None,
    no_passphrase: bool,
    force: bool,
) -> None:
    """Sign a new intermediate with the root's key; it signs everything from then on.

    The passphrase opens the root's key, and then protects the intermediate's, unless
    that gets a new one; after a token's PIN it has to. What the old intermediate signed
    stays good until it ends.
    """
    home = find_home()
    load_ca_cert(home.ca_dir)
    if not force and load_issuing_cert(home.ca_dir) is not None:
        raise issuing_exists(home.ca_dir)
    chosen = load_intermediate(profile, variables, days)
    root, opening = _unlock_root(home, passphrase_file, passphrase_env)
    passphrase = opening
    if no_passphrase or is_in_token(home.ca_dir / KEY_FILE):
        passphrase = new_passphrase(
            new_passphrase_file, new_passphrase_env, no_passphrase,
            replacing=True, command="keyfob ca intermediate",
        )  # fmt: skip
    else:
        passphrase = given_new_passphrase(new_passphrase_file, new_passphrase_env) or passphrase
    made = root.issue_intermediate(chosen)
    _sign_last_crl(ui, home, opening)
    with recording(home, home.ca_dir / ISSUING, kind="intermediate", profile=profile):
        made.write_issuing(home.ca_dir, passphrase, force=force)
    if crl_path(home).exists():
        inventory, _ = open_inventory(home)
        with inventory, inventory.writing():
            sign_crls(home, inventory, [made, root], None)
    _show(ui, home, "keyfob broker down; keyfob broker up  # a running broker knows the old one")


@click.command()
@click.pass_obj
def show(ui: Ui) -> None:
    """Show the CA's certificate, and its intermediate's."""
    _show(ui, find_home(), "")


def _unlock_root(
    home: Home, file: Path | None, variable: str | None
) -> tuple[Authority, bytes | None]:
    """The root, and the passphrase that its key has."""
    path = home.ca_dir / KEY_FILE
    passphrase = given_passphrase(file, variable)
    if passphrase is None and path.exists() and is_encrypted(path):
        kind = "PIN of the root's token" if is_in_token(path) else "Passphrase of the root's key"
        passphrase = ask_passphrase(kind)
    return Authority.load_root(home.ca_dir, passphrase), passphrase


def _sign_last_crl(ui: Ui, home: Home, passphrase: bytes | None) -> None:
    """While the key of the intermediate about to be replaced is still here."""
    present = load_issuing_cert(home.ca_dir)
    if present is None or present.not_valid_after_utc <= now_utc():
        return
    inventory, _ = open_inventory(home)
    with inventory:
        if key_id(present) in inventory.revoked_keys():
            return  # nobody is to take what it issued
        try:
            former = Authority.load(home.ca_dir, passphrase)
        except KeyfobHostError as error:
            # It may be damaged or lost, which is why it is replaced.
            ui.step(
                "note: the intermediate before cannot sign a last CRL, so a broker with CRLs will "
                f"refuse what it issued: {error.cause}"
            )
            return
        with inventory.writing():
            sign_last_crl(home, inventory, former)


def _show(ui: Ui, home: Home, following: str) -> None:
    folder = home.ca_dir
    root, below = load_ca_cert(folder), load_issuing_cert(folder)
    fields: dict[str, Any] = describe(root)
    data = {**fields, "folder": str(folder), **_key_state(folder), "issuing": None}
    lines = [describe_text(fields), f"files    {folder} (key {_key_text(folder)})"]
    if below is not None:
        where = signing_folder(folder)
        of_below = describe(below)
        data["issuing"] = {**of_below, "folder": str(where), **_key_state(where)}
        lines += [
            "", describe_text(of_below), f"files    {where} (key {_key_text(where)})", "",
        ]  # fmt: skip
        if (folder / KEY_FILE).exists() and not is_in_token(folder / KEY_FILE):
            lines.append(
                "note     only a new intermediate needs the root's key: keep it elsewhere:\n"
                f"         mv {quote(str(folder / KEY_FILE))} /media/offline/"
            )
    states = crl_states(home)
    data["crls"] = [one.as_dict() for one in states]
    lines += [f"crl      {one.line()}" for one in states]
    if following:
        lines.append(f"next     {following}")
    ui.result("\n".join(lines).rstrip(), data)


def _key_state(folder: Path) -> dict[str, bool | None]:
    path = folder / KEY_FILE
    if not path.exists():
        return {"key_encrypted": None, "key_in_token": None}
    return {"key_encrypted": is_encrypted(path), "key_in_token": is_in_token(path)}


def _key_text(folder: Path) -> str:
    state = _key_state(folder)
    encrypted = state["key_encrypted"]
    if encrypted is None:
        return _AWAY
    if state["key_in_token"]:
        return "in a PKCS#11 token"
    return "encrypted" if encrypted else "not encrypted, mode 0600"
