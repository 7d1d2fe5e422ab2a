"""The options that say where the CA's passphrase comes from; never the command line itself."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import rich_click as click

from keyfob_host.errors import ExitStatus, KeyfobHostError
from keyfob_host.files import read_bounded
from keyfob_host.pki.authority import KEY_FILE, Authority, load_ca_cert
from keyfob_host.pki.keys import is_encrypted

_Command = TypeVar("_Command", bound=Callable[..., Any])


def passphrase_options(command: _Command) -> _Command:
    """``--passphrase-file`` and ``--passphrase-env``."""
    from_env = click.option(
        "--passphrase-env", metavar="VARIABLE", help="Environment variable with the passphrase."
    )
    from_file = click.option(
        "--passphrase-file",
        type=click.Path(path_type=Path),
        help="File whose first line is the CA's passphrase.",
    )
    return from_file(from_env(command))


def new_passphrase(file: Path | None, variable: str | None, none: bool) -> bytes | None:
    """The passphrase for a key about to be made; None for a key in clear.

    Error ``ca.passphrase-undecided`` when nothing was said and nobody can be asked.
    """
    given = _given(file, variable, none)
    if given is not None or none:
        return given
    if sys.stdin.isatty():
        text: str = click.prompt(
            "Passphrase for the CA's key", hide_input=True, confirmation_prompt=True, err=True
        )
        return text.encode()
    raise KeyfobHostError(
        "ca.passphrase-undecided",
        "nothing says how to protect the CA's key, and there is no terminal to ask on",
        fix="keyfob ca init --passphrase-file FILE; for a bench's throw-away CA: "
        "keyfob ca init --no-passphrase",
    )


def unlock(folder: Path, file: Path | None, variable: str | None) -> Authority:
    """The CA in ``folder``, its passphrase taken from the options or asked for if it has one."""
    load_ca_cert(folder)  # "no CA yet" comes before any question
    passphrase = _given(file, variable, False)
    if passphrase is None and sys.stdin.isatty() and is_encrypted(folder / KEY_FILE):
        passphrase = click.prompt("Passphrase of the CA's key", hide_input=True, err=True).encode()
    return Authority.load(folder, passphrase)


def _given(file: Path | None, variable: str | None, none: bool) -> bytes | None:
    if (file is not None) + (variable is not None) + none > 1:
        raise click.UsageError("Give one source for the passphrase only.")
    if file is not None:
        return _from_file(file)
    return None if variable is None else _from_environment(variable)


def _from_file(file: Path) -> bytes:
    lines = read_bounded(file, "read the passphrase").splitlines()
    mode = file.stat().st_mode
    if stat.S_ISREG(mode) and mode & 0o077:
        raise KeyfobHostError(
            "ca.passphrase-exposed",
            "the file with the passphrase can be read by others on this machine",
            evidence=f"{file}: mode {stat.S_IMODE(mode):04o}, expected 0600",
            fix=f"chmod 600 {file}",
            status=ExitStatus.IDENTITY,
        )
    return _not_empty(lines[0] if lines else b"", f"the first line of {file} is empty")


def _from_environment(variable: str) -> bytes:
    value = os.environb.get(variable.encode(), b"")
    return _not_empty(value, f"environment variable {variable} is not set or empty")


def _not_empty(passphrase: bytes, evidence: str) -> bytes:
    if passphrase:
        return passphrase
    raise KeyfobHostError(
        "ca.passphrase-empty",
        "there is no passphrase where it was said to be",
        evidence=evidence,
        fix="put one there, or make a key without: keyfob ca init --no-passphrase",
    )
