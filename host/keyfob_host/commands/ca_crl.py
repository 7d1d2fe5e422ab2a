"""``keyfob ca crl``: sign the certificate revocation lists, by hand or on a timer."""

from __future__ import annotations

import shlex
import shutil
import sys
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from pathlib import Path

import rich_click as click

from keyfob_host.broker_bench import broker_rereads
from keyfob_host.commands.passphrase import ask_passphrase, given_passphrase, passphrase_options
from keyfob_host.durations import parse_duration
from keyfob_host.errors import ExitStatus, KeyfobHostError
from keyfob_host.files import read_bounded
from keyfob_host.home import Home, find_home
from keyfob_host.pki.authority import Authority, load_ca_cert
from keyfob_host.pki.ca_folder import KEY_FILE, NEXT, PREVIOUS, signing_key_path
from keyfob_host.pki.crl import crl_path
from keyfob_host.pki.inventory_disk import open_inventory
from keyfob_host.pki.keys import is_encrypted, is_in_token
from keyfob_host.pki.pkcs11_file import read_token_pem
from keyfob_host.pki.revocation import crl_states, crls_are_fresh, has_crl, sign_crls
from keyfob_host.pki.validity import now_utc
from keyfob_host.ui import Ui

_Load = Callable[[bytes | None], Authority]

_SECRET_FILE = Path("~/.config/keyfob/ca-passphrase")
# Why a key that is not needed from day to day does not open.
_LOCKED = (
    "cert.passphrase-needed", "cert.passphrase-wrong",
    "pkcs11.pin-needed", "pkcs11.pin-wrong", "pkcs11.token-missing", "pkcs11.module-missing",
)  # fmt: skip


@click.command()
@click.option(
    "--days", type=click.IntRange(1, 3650), default=30, show_default=True,
    help="Until the next update, when the CRL ends to count.",
)  # fmt: skip
@click.option(
    "--if-older-than", metavar="SPAN",
    help="Do nothing, silently, unless a CRL is older (as 12h, 7d) or near its end.",
)  # fmt: skip
@click.option("--show-timer", is_flag=True, help="Print a systemd timer and a cron line for it.")
@passphrase_options
@click.pass_obj
def crl(
    ui: Ui,
    days: int,
    if_older_than: str | None,
    show_timer: bool,
    passphrase_file: Path | None,
    passphrase_env: str | None,
) -> None:
    """Sign the CRL of each CA whose key is here, and let the running broker read it.

    A broker that has a CRL refuses every client once it is past its next update, so sign
    it on a timer: keyfob ca crl --show-timer.
    """
    home = find_home()
    load_ca_cert(home.ca_dir)
    span = None if if_older_than is None else parse_duration(if_older_than)
    if show_timer:
        text = _timer(home, days, if_older_than or "7d", passphrase_file)
        ui.result(text, {"timer": text})
        return
    if span is not None and crls_are_fresh(home, span):
        if ui.as_json:
            ui.result("", {"signed": False})
        return
    authorities = unlock_authorities(ui, home, passphrase_file, passphrase_env)
    inventory, _ = open_inventory(home)
    with inventory, inventory.writing():
        sign_crls(home, inventory, authorities, timedelta(days=days))
    broker = broker_rereads(home)
    states = crl_states(home, authorities)
    lines = [f"crl      {one.line()}{'' if one.is_new else ' (not signed now)'}" for one in states]
    lines.append(f"files    {crl_path(home)}")
    lines += [f"broker   {broker}"] if broker else []
    ui.result(
        "\n".join(lines),
        {
            "signed": True,
            "file": str(crl_path(home)),
            "crls": [one.as_dict() for one in states],
            "broker": broker,
        },
    )


def unlock_authorities(
    ui: Ui, home: Home, passphrase_file: Path | None, passphrase_env: str | None
) -> list[Authority]:
    """The CA that signs devices, and every other one whose key is here and opens too.

    Others are the root above it, and during a rollover the next CA or the previous one,
    whose passphrase is asked for on a terminal if it is another. Error
    ``ca.previous-locked``.
    """
    folder = home.ca_dir
    passphrase = given_passphrase(passphrase_file, passphrase_env)
    path = signing_key_path(folder)
    if passphrase is None and path.exists() and is_encrypted(path):
        kind = "PIN of the CA's token" if is_in_token(path) else "Passphrase of the CA's key"
        passphrase = ask_passphrase(kind)
    found = [Authority.load(folder, passphrase)]
    others: list[tuple[str, Path, _Load]] = []
    if found[0].root is not None:
        others.append(("root", folder / KEY_FILE, partial(Authority.load_root, folder)))
    for name in (NEXT, PREVIOUS):
        where = folder / name
        others.append((f"{name} CA", signing_key_path(where), partial(Authority.load, where)))
    for what, path, load in others:
        if not path.exists():
            continue
        opened = _open(load, passphrase) if _may_be_tried(path, signing_key_path(folder)) else None
        if opened is None and path == signing_key_path(folder / PREVIOUS):
            asked = ask_passphrase("Passphrase (or PIN) of the former CA's key")
            opened = None if asked is None else load(asked)
            if opened is None and not has_crl(home, folder / PREVIOUS):
                raise _previous_locked(path)
        if opened is None:
            ui.step(f"note: the key of the {what} stays locked, and its CRL as it is")
        elif opened.cert.not_valid_after_utc > now_utc():
            found.append(opened)  # one that has ended needs no CRL
    return found


def _open(load: _Load, passphrase: bytes | None) -> Authority | None:
    """None where the passphrase is another one's."""
    try:
        return load(passphrase)
    except KeyfobHostError as error:
        if error.code not in _LOCKED:
            raise
        return None


def _previous_locked(path: Path) -> KeyfobHostError:
    return KeyfobHostError(
        "ca.previous-locked",
        "the former CA has devices and no CRL yet, and its key has another passphrase; with a "
        "CRL of the present CA alone the broker would refuse them all",
        evidence=str(path),
        fix="in a terminal, where both passphrases are asked for: keyfob ca crl; "
        "then the command again",
        status=ExitStatus.IDENTITY,
    )


def _may_be_tried(path: Path, given_for: Path) -> bool:
    """Whether what opens the key ``given_for`` may be tried on the key of ``path``.

    A token locks itself after a few wrong PINs, which a timer would soon have tried.
    """
    if not is_in_token(path):
        return True
    if not is_in_token(given_for):
        return False
    uris = [
        read_token_pem(read_bounded(one, "read the CA key"), str(one)) for one in (path, given_for)
    ]
    return len({(one.token, one.serial) for one in uris}) == 1


def _timer(home: Home, days: int, older_than: str, passphrase_file: Path | None) -> str:
    """Commands to paste, for systemd and for cron."""
    program = shutil.which(sys.argv[0]) or shutil.which("keyfob")
    words = [str(Path(program).absolute())] if program else [sys.executable, "-m", "keyfob_host"]
    words += ["ca", "crl", "--days", str(days), "--if-older-than", older_than]
    note = ""
    if is_encrypted(signing_key_path(home.ca_dir)):
        file = passphrase_file or _SECRET_FILE
        words += ["--passphrase-file", str(file.expanduser().absolute())]
        if not file.expanduser().exists():
            note = f"# the CA's passphrase, for you alone: install -D -m 600 /dev/stdin {file}\n"
    command = shlex.join(["env", f"KEYFOB_HOME={home.root}", *words])
    # In both, % is a character with a meaning of its own; to systemd also $, even in quotes.
    for_systemd = command.replace("%", "%%").replace("$", "$$")
    for_cron = command.replace("%", r"\%")
    return f"""\
{note}# systemd, for this user:
mkdir -p ~/.config/systemd/user
cat >~/.config/systemd/user/keyfob-crl.service <<'END'
[Unit]
Description=Sign the CRL of keyfob's bench
[Service]
Type=oneshot
ExecStart=/usr/bin/{for_systemd}
END
cat >~/.config/systemd/user/keyfob-crl.timer <<'END'
[Unit]
Description=Sign the CRL of keyfob's bench before it ends
[Timer]
OnCalendar=daily
Persistent=true
[Install]
WantedBy=timers.target
END
systemctl --user enable --now keyfob-crl.timer

# or a line of cron (crontab -e):
17 3 * * * {for_cron}"""
