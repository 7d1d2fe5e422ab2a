"""Where a passphrase or PIN comes from: a file, the environment, a descriptor, a terminal.

Never the command line itself, which every user of the machine can read. The same
options serve the CA's key, a token's PIN and an exported file. How good a passphrase
is is not judged.
"""

from __future__ import annotations

import errno
import os
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import rich_click as click
from click import get_current_context

from keyfob_host.errors import ExitStatus, KeyfobHostError
from keyfob_host.files import read_bounded
from keyfob_host.pki.authority import Authority, load_ca_cert
from keyfob_host.pki.ca_folder import signing_key_path
from keyfob_host.pki.keys import is_encrypted, is_in_token

_Command = TypeVar("_Command", bound=Callable[..., Any])

_OLD, _NEW = "passphrase", "new-passphrase"

# More than any tool that will ever be asked for it takes (OpenSSL prompts for 1024).
_MAX_BYTES = 1024


def passphrase_options(command: _Command) -> _Command:
    """``--passphrase-file``, ``--passphrase-env`` (arguments), ``--passphrase-fd`` (kept here)."""
    return _options(command, _OLD, "passphrase (or the token's PIN)")


def new_passphrase_options(command: _Command) -> _Command:
    """The same with ``--new-passphrase-…``: what a key is to have from now on."""
    return _options(command, _NEW, "new passphrase")


def given_passphrase(file: Path | None, variable: str | None) -> bytes | None:
    """What `passphrase_options` say; None if they say nothing.

    Errors: ``ca.passphrase-empty``, ``-exposed``, ``-too-long``, ``-fd``, ``file.*``.
    """
    return _given(file, variable, _OLD)


def given_new_passphrase(file: Path | None, variable: str | None) -> bytes | None:
    """What `new_passphrase_options` say; None if they say nothing."""
    return _given(file, variable, _NEW)


def new_passphrase(
    file: Path | None,
    variable: str | None,
    none: bool,
    *,
    replacing: bool = False,
    command: str = "keyfob ca init",
) -> bytes | None:
    """The passphrase for a CA key about to be written; None for a key in clear.

    ``replacing``: as `new_passphrase_options` say. ``command`` is shown in the fix of
    ``ca.passphrase-undecided``: nothing was said and nobody can be asked.
    """
    name = _NEW if replacing else _OLD
    given = _given(file, variable, name, none)
    if given is not None or none:
        return given
    asked = ask_new_passphrase(f"{'New p' if replacing else 'P'}assphrase for the CA's key")
    if asked is not None:
        return asked
    raise KeyfobHostError(
        "ca.passphrase-undecided",
        "nothing says how to protect the CA's key, and there is no terminal to ask on",
        fix=f"{command} --{name}-file FILE; for a bench's throw-away CA: {command} --no-passphrase",
    )


def ask_new_passphrase(question: str) -> bytes | None:
    """Asked for twice, not shown; None where there is no terminal."""
    if not sys.stdin.isatty():
        return None
    text: str = click.prompt(question, hide_input=True, confirmation_prompt=True, err=True)
    return text.encode()


def ask_passphrase(question: str) -> bytes | None:
    """Asked for once, not shown; None where there is no terminal."""
    if not sys.stdin.isatty():
        return None
    text: str = click.prompt(question, hide_input=True, err=True)
    return text.encode()


def unlock(folder: Path, file: Path | None, variable: str | None) -> Authority:
    """The CA in ``folder``, its passphrase taken from the options or asked for if it has one."""
    load_ca_cert(folder)  # "no CA yet" comes before any question
    passphrase = given_passphrase(file, variable)
    path = signing_key_path(folder)
    if passphrase is None and is_encrypted(path):
        asked = "PIN of the CA's token" if is_in_token(path) else "Passphrase of the CA's key"
        passphrase = ask_passphrase(asked)
    return Authority.load(folder, passphrase)


def _options(command: _Command, name: str, what: str) -> _Command:
    from_fd = click.option(
        f"--{name}-fd",
        type=click.IntRange(0),
        metavar="N",
        expose_value=False,
        callback=_remember,
        help=f"Open file descriptor to read the {what} from, up to a newline.",
    )
    from_env = click.option(
        f"--{name}-env", metavar="VARIABLE", help=f"Environment variable with the {what}."
    )
    from_file = click.option(
        f"--{name}-file",
        type=click.Path(path_type=Path),
        help=f"File whose first line is the {what}.",
    )
    return from_file(from_env(from_fd(command)))


def _remember(ctx: click.Context, option: click.Parameter, number: int | None) -> None:
    ctx.meta[f"{__name__}.{option.name}"] = number


def _given(file: Path | None, variable: str | None, name: str, none: bool = False) -> bytes | None:
    meta = get_current_context().meta
    key = f"{__name__}.{name.replace('-', '_')}_fd"
    number: int | bytes | None = meta.get(key)
    if (file is not None) + (variable is not None) + (number is not None) + none > 1:
        raise click.UsageError("Give one source for the passphrase only.")
    if file is not None:
        return _from_file(file)
    if variable is not None:
        return _from_environment(variable)
    if isinstance(number, int):
        meta[key] = number = _from_descriptor(number)  # can be read only once
    return number


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
    return _checked(lines[0] if lines else b"", f"the first line of {file}")


def _from_environment(variable: str) -> bytes:
    value = os.environb.get(os.fsencode(variable), b"")
    return _checked(value, f"environment variable {variable}")


def _from_descriptor(number: int) -> bytes:
    """The first line of an open descriptor, which is closed then."""
    content = b""
    try:
        if number in (1, 2):  # a terminal's could be read, and would then be closed
            raise OSError(errno.EBADF, "the command writes to it")
        while b"\n" not in content and len(content) <= _MAX_BYTES:
            chunk = os.read(number, _MAX_BYTES + 2)
            if not chunk:
                break
            content += chunk
        if number == 0:
            # A closed standard input's number would go to the next file opened.
            with Path(os.devnull).open("rb") as nothing:
                os.dup2(nothing.fileno(), 0)
        else:
            os.close(number)
    except OSError as error:
        raise KeyfobHostError(
            "ca.passphrase-fd",
            "the passphrase cannot be read from this file descriptor",
            evidence=f"descriptor {number}: {error.strerror}",
            fix=f"open it for the command: --passphrase-fd {number} {number}</path/to/file",
        ) from None
    lines = content.splitlines()
    return _checked(lines[0] if lines else b"", f"the first line of descriptor {number}")


def _checked(passphrase: bytes, where: str) -> bytes:
    if not passphrase:
        raise KeyfobHostError(
            "ca.passphrase-empty",
            "there is no passphrase where it was said to be",
            evidence=f"{where} is empty or not set",
            fix="put one there; a bench's throw-away CA can do without: "
            "keyfob ca init --no-passphrase",
        )
    if len(passphrase) > _MAX_BYTES:
        raise KeyfobHostError(
            "ca.passphrase-too-long",
            f"a passphrase has at most {_MAX_BYTES} bytes",
            evidence=f"{where} has more",
            fix="check that this is the source you mean",
        )
    return passphrase
