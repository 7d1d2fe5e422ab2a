"""``keyfob ca rollover``: from one CA to the next, step by step."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path

import rich_click as click
from cryptography.hazmat.primitives import hashes

from keyfob_host.broker_bench import broker_rereads
from keyfob_host.command_table import command_group
from keyfob_host.commands.ca_token import token_key, token_options
from keyfob_host.commands.passphrase import (
    given_passphrase,
    new_passphrase,
    new_passphrase_options,
    passphrase_options,
    unlock,
)
from keyfob_host.commands.profile_options import AuthorityProfile, authority_options
from keyfob_host.daemon import locked
from keyfob_host.errors import ExitStatus, KeyfobHostError
from keyfob_host.files import read_bounded
from keyfob_host.home import Home, find_home
from keyfob_host.pki import bench
from keyfob_host.pki.authority import Authority
from keyfob_host.pki.ca_folder import (
    KEY_FILE,
    NEXT,
    PREVIOUS,
    authority_certs,
    load_ca_cert,
    load_issuing_cert,
)
from keyfob_host.pki.crl import crl_path
from keyfob_host.pki.describe import describe
from keyfob_host.pki.inventory_disk import open_inventory
from keyfob_host.pki.keys import is_in_token
from keyfob_host.pki.pkcs11_file import read_token_pem
from keyfob_host.pki.revocation import has_crl, sign_crls
from keyfob_host.pki.rollover import Rollover, begin, finish, rollover_state, switch
from keyfob_host.ui import Ui

_THIS = "keyfob_host.commands.ca_rollover"
COMMANDS: dict[str, tuple[str, str]] = {
    "begin": (f"{_THIS}:begin_command", "Make the next CA; trust both, the present one signs."),
    "switch": (f"{_THIS}:switch_command", "The next CA signs; both are trusted still."),
    "finish": (f"{_THIS}:finish_command", "Trust the former CA no more."),
    "status": (f"{_THIS}:status_command", "How far it is, and what comes next."),
}
_NEXT = {
    "none": "keyfob ca rollover begin",
    "begun": "every board gets both anchors: keyfob rotate ID --anchors\n"
    "         then: keyfob ca rollover switch",
    "switched": "the broker, then every board: keyfob cert renew BROKER; keyfob rotate ID\n"
    "         then: keyfob ca rollover finish",
}
_FORGET = "boards trust the former CA until they are told: keyfob rotate ID --anchors"


@command_group(COMMANDS)
def rollover() -> None:
    """Go over to a new CA, with an overlap in which both are trusted."""


@click.command()
@authority_options(
    whose="The next CA's",
    issuing="The profile of the next intermediate, where the present CA has one.",
)
@passphrase_options
@new_passphrase_options
@click.option("--no-passphrase", is_flag=True, help="Leave the next CA's key in clear.")
@token_options
@click.option("--on-disk", is_flag=True, help="The next CA's key in a file, after one in a token.")
@click.pass_obj
def begin_command(
    ui: Ui,
    ca_profile: AuthorityProfile,
    passphrase_file: Path | None,
    passphrase_env: str | None,
    new_passphrase_file: Path | None,
    new_passphrase_env: str | None,
    no_passphrase: bool,
    pkcs11: str | None,
    existing_key: bool,
    on_disk: bool,
) -> None:
    """Make the next CA (with an intermediate if the present one has one).

    The passphrase is the next CA's; with --pkcs11 it is the token's PIN, and an
    intermediate's key, which is a file, gets the new passphrase. The running broker is
    restarted, so that it trusts both.
    """
    if pkcs11 is None and existing_key:
        raise click.UsageError("--existing-key is for --pkcs11.")
    if pkcs11 is not None and on_disk:
        raise click.UsageError("The key is in a token (--pkcs11) or a file (--on-disk).")
    home = find_home()
    has_issuing = load_issuing_cert(home.ca_dir) is not None
    chosen, issuing = ca_profile.load(with_issuing=has_issuing)
    common_name = ca_profile.common_name
    command = "keyfob ca rollover begin"
    with _one_at_a_time(home):
        if rollover_state(home).phase != "none":
            begin(home, chosen, None)  # completes what was begun, or says what comes first
        elif pkcs11 is not None:
            pin = given_passphrase(passphrase_file, passphrase_env)
            passphrase = None
            if issuing is not None:
                passphrase = new_passphrase(
                    new_passphrase_file, new_passphrase_env, no_passphrase,
                    replacing=True, command=command,
                )  # fmt: skip
            with token_key(ui, pkcs11, pin, chosen.key_type, existing=existing_key) as key:
                begin(home, chosen, passphrase, common_name, issuing, key)
        else:
            if not on_disk:
                _refuse_weaker_place(home)
            passphrase = new_passphrase(
                passphrase_file, passphrase_env, no_passphrase, command=command
            )
            begin(home, chosen, passphrase, common_name, issuing)
        _take_in(home)
        _show(ui, home, broker_rereads(home, end_sessions=True))


@click.command()
@passphrase_options
@click.pass_obj
def switch_command(ui: Ui, passphrase_file: Path | None, passphrase_env: str | None) -> None:
    """Let the next CA sign; the passphrase is its own, and only asked for if it signs a CRL.

    Do it when every board has both anchors: boards that have not are to be provisioned
    over their serial port.
    """
    home = find_home()
    load_ca_cert(home.ca_dir)
    with _one_at_a_time(home):
        _switch(home, passphrase_file, passphrase_env)
        _show(ui, home, broker_rereads(home, end_sessions=True))


def _switch(home: Home, passphrase_file: Path | None, passphrase_env: str | None) -> None:
    authority: Authority | None = None
    phase = rollover_state(home).phase
    # A broker with a CRL refuses everybody whose issuer has none. Switched already means that
    # this command was cut short before.
    if crl_path(home).exists() and (
        phase == "begun" or (phase == "switched" and not has_crl(home, home.ca_dir))
    ):
        folder = home.ca_dir / NEXT if phase == "begun" else home.ca_dir
        authority = unlock(folder, passphrase_file, passphrase_env)
    inventory, _ = open_inventory(home)
    # A CRL that is signed between reading the folder and its exchange would be lost.
    with inventory, inventory.writing():
        switch(home)
        if authority is not None:
            sign_crls(home, inventory, [authority], None)
    _take_in(home)


@click.command()
@passphrase_options
@click.option("--force", is_flag=True, help="Also while certificates of the former CA are in use.")
@click.pass_obj
def finish_command(
    ui: Ui, passphrase_file: Path | None, passphrase_env: str | None, force: bool
) -> None:
    """End the overlap: the former CA and its key are removed, and nobody trusts it any more."""
    home = find_home()
    load_ca_cert(home.ca_dir)
    with _one_at_a_time(home):
        if not bench.host_identity_fits(home) and rollover_state(home).phase == "switched":
            bench.renew_host_identity(home, unlock(home.ca_dir, passphrase_file, passphrase_env))
        folder = home.ca_dir / PREVIOUS
        former = authority_certs(folder) if folder.is_dir() else []
        key_file = folder / KEY_FILE
        stays = key_file.exists() and is_in_token(key_file)
        uri = read_token_pem(read_bounded(key_file, "read the key"), str(key_file)) if stays else ""
        inventory, _ = open_inventory(home)
        with inventory, inventory.writing():
            finish(home, force=force)
            for cert in former:
                inventory.set_replaced(cert.fingerprint(hashes.SHA256()).hex())
        _take_in(home)
        if stays:
            ui.step(f"note: the former CA's key is in its token still: {uri}")
        _show(ui, home, broker_rereads(home, end_sessions=True), _FORGET if former else "")


@click.command()
@click.pass_obj
def status_command(ui: Ui) -> None:
    """How far the rollover is, what is left, and what comes next."""
    _show(ui, find_home(), "")


def _one_at_a_time(home: Home) -> AbstractContextManager[None]:
    """Steps of a rollover, and `keyfob cert make`, do not run beside each other."""
    return locked(home.ensure().certs_dir)


def _refuse_weaker_place(home: Home) -> None:
    """Raise where the present CA's key is in a token, and nothing says that the next's is not."""
    path = home.ca_dir / KEY_FILE
    if not path.exists() or not is_in_token(path):
        return
    raise KeyfobHostError(
        "ca.rollover-token",
        "the present CA's key is in a token, and the next one's would be in a file",
        evidence=f"{path} names a token",
        fix="keyfob ca rollover begin --pkcs11 'pkcs11:token=…;object=ca-2?module-path=…'; "
        "if a file is meant: keyfob ca rollover begin --on-disk",
        status=ExitStatus.IDENTITY,
    )


def _take_in(home: Home) -> None:
    inventory, _ = open_inventory(home)
    with inventory:
        pass  # opening it records what is on disk now


def _show(ui: Ui, home: Home, broker: str, following: str = "") -> None:
    state = rollover_state(home)
    lines = [f"rollover {'not under way' if state.phase == 'none' else state.phase}"]
    lines.append(f"signs    {_line(describe(state.current))}")
    if state.other is not None:
        folder = NEXT if state.phase == "begun" else PREVIOUS
        lines.append(f"{folder:9}{_line(describe(state.other))}")
    if state.left:
        lines.append(f"left     {len(state.left)} of the former CA: {_some(state)}")
    if broker:
        lines.append(f"broker   {broker}")
    is_ready = state.phase == "switched" and not state.left
    following = following or ("keyfob ca rollover finish" if is_ready else _NEXT[state.phase])
    lines.append(f"next     {following}")
    ui.result(
        "\n".join(lines),
        {
            "phase": state.phase,
            "current": describe(state.current),
            "other": None if state.other is None else describe(state.other),
            "left": list(state.left),
            "broker": broker,
        },
    )


def _line(fields: dict[str, str]) -> str:
    return f"{fields['subject']}, until {fields['not_after'][:10]}"


def _some(state: Rollover) -> str:
    return " ".join(state.left[:10]) + (" …" if len(state.left) > 10 else "")
