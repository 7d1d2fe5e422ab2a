"""The way to a token's keys: its module loaded, the token found, its user logged in.

Any maker's module will do (SoftHSM, YubiKey, Nitrokey, a network HSM): it is loaded into
this process as code. It is spoken to through python-pkcs11, which comes with
``keyfob[pkcs11]`` and is imported here only. A PIN is never stored or shown. That the
token is the one it says it is cannot be checked.
"""

from __future__ import annotations

import importlib
import os
from pathlib import Path
from shlex import quote
from typing import Any

from keyfob_host.errors import ExitStatus, KeyfobHostError
from keyfob_host.pki.pkcs11_uri import TokenUri


def load_library() -> Any:
    """python-pkcs11. Error: ``pkcs11.library-missing``."""
    try:
        return importlib.import_module("pkcs11")
    except ImportError as error:
        raise KeyfobHostError(
            "pkcs11.library-missing",
            "python-pkcs11, through which tokens are spoken to, is not installed",
            evidence=str(error),
            fix="pip install 'keyfob[pkcs11]'",
            status=ExitStatus.HOST,
        ) from None


def find_token(api: Any, uri: TokenUri) -> Any:
    """The one that ``uri`` names.

    Errors: ``pkcs11.module-missing``, ``pkcs11.token-missing``, ``pkcs11.several-tokens``,
    ``pkcs11.failed``.
    """
    if not Path(uri.module_path).is_file():
        raise _no_module(uri, "there is no such file")
    try:
        library = api.lib(uri.module_path)
    except api.PKCS11Error as error:
        # Without a text it is an answer of the module's, not the system's on loading it.
        if str(error):
            path = uri.module_path
            said = str(error).removeprefix(f"OS exception while loading {path}: ")
            raise _no_module(uri, said.removeprefix(f"{path}: ")[:200]) from None
        raise failed("start the module", error, uri) from None
    try:
        tokens = [slot.get_token() for slot in library.get_slots(token_present=True)]
        tokens = [one for one in tokens if api.TokenFlag.TOKEN_INITIALIZED in one.flags]
    except api.PKCS11Error as error:
        raise failed("list the tokens", error, uri) from None
    wanted = {"label": uri.token, "manufacturer_id": uri.manufacturer, "model": uri.model}
    found = [
        one
        for one in tokens
        if all(value in ("", getattr(one, name)) for name, value in wanted.items())
        and uri.serial in ("", serial_of(one))
    ]
    if len(found) == 1:
        return found[0]
    seen = ", ".join(f"{one.label!r} (serial {serial_of(one)})" for one in found or tokens)
    if found:
        raise KeyfobHostError(
            "pkcs11.several-tokens",
            "more than one token fits the URI",
            evidence=f"{uri}: {seen}",
            fix=f"say which: pkcs11:token={uri.token};serial={serial_of(found[0])};…",
            status=ExitStatus.IDENTITY,
        )
    raise KeyfobHostError(
        "pkcs11.token-missing",
        "there is no such token: not plugged in, or under another label",
        evidence=f"{uri}; tokens here: {seen or 'none'}{_where(uri)}",
        fix="plug it in, or correct token=…; for a token in software: "
        f"softhsm2-util --init-token --free --label {uri.token or 'keyfob'}",
        status=ExitStatus.IDENTITY,
    )


def log_in(api: Any, token: Any, uri: TokenUri, pin: bytes | None, writable: bool) -> Any:
    """A session of the token's user.

    Errors: ``pkcs11.pin-needed``, ``pkcs11.pin-wrong``, ``pkcs11.pin-locked``,
    ``pkcs11.failed``.
    """
    if pin is None:
        raise KeyfobHostError(
            "pkcs11.pin-needed",
            "the token wants its PIN before it signs",
            evidence=str(uri),
            fix="give --passphrase-file FILE, --passphrase-env VARIABLE or --passphrase-fd N, "
            "or run it in a terminal",
            status=ExitStatus.IDENTITY,
        )
    try:
        return token.open(rw=writable, user_pin=pin.decode(errors="replace"))
    except api.UserAlreadyLoggedIn:  # by this process, with the right PIN
        return token.open(rw=writable)
    except (api.PinIncorrect, api.PinInvalid, api.PinLenRange):
        flags = token.slot.get_token().flags
        if api.TokenFlag.USER_PIN_LOCKED not in flags:
            raise _wrong_pin(uri, api.TokenFlag.USER_PIN_FINAL_TRY in flags,
                             api.TokenFlag.USER_PIN_COUNT_LOW in flags) from None  # fmt: skip
    except api.PinLocked:
        pass
    except api.PKCS11Error as error:
        raise failed("log in", error, uri) from None
    raise KeyfobHostError(
        "pkcs11.pin-locked",
        "the token is locked: the PIN was wrong too often",
        evidence=str(uri),
        fix="set a new one with the security officer's PIN: "
        f"pkcs11-tool --module {uri.module_path} --init-pin --login --login-type so",
        status=ExitStatus.IDENTITY,
    )


def _wrong_pin(uri: TokenUri, last: bool, low: bool) -> KeyfobHostError:
    # USER_PIN_COUNT_LOW: it was wrong at least once; FINAL_TRY: once more, and it locks.
    left = "more than one try is left" if low else "it does not say how many tries are left"
    left = "one try is left" if last else left
    return KeyfobHostError(
        "pkcs11.pin-wrong",
        "the token does not take this PIN, and locks itself after too many wrong ones",
        evidence=f"{uri}: {left}",
        fix="run the command again with the right PIN"
        + ("; the next wrong one locks the token" if last else ""),
        status=ExitStatus.IDENTITY,
    )


def _no_module(uri: TokenUri, why: str) -> KeyfobHostError:
    return KeyfobHostError(
        "pkcs11.module-missing",
        "the token's PKCS#11 module cannot be loaded",
        evidence=f"{uri.module_path}: {why}",
        fix="install it, or correct module-path; for SoftHSM: apt-get install softhsm2",
        status=ExitStatus.HOST,
    )


def failed(doing: str, error: Exception, uri: TokenUri) -> KeyfobHostError:
    """What no other error tells; ``doing`` completes "the token could not …"."""
    said = type(error).__name__ + (f": {error}" if str(error) else "")
    return KeyfobHostError(
        "pkcs11.failed",
        f"the token could not {doing}",
        evidence=f"{uri}: {said[:200]}{_where(uri)}",
        fix=f"see what it says of itself: pkcs11-tool --module {quote(uri.module_path)} -L -O",
        status=ExitStatus.IDENTITY,
    )


def _where(uri: TokenUri) -> str:
    """SoftHSM's tokens are where a variable says, which cron and sudo do not pass on."""
    if "softhsm" not in Path(uri.module_path).name:
        return ""
    return f"; SOFTHSM2_CONF {os.environ.get('SOFTHSM2_CONF', 'is not set')}"


def serial_of(token: Any) -> str:
    """As the URI has it."""
    return str(token.serial.decode(errors="replace")).strip()
