"""The options of ``keyfob ca init`` for a CA whose key is in a PKCS#11 token."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import rich_click as click

from keyfob_host.commands.passphrase import ask_passphrase
from keyfob_host.pki.pkcs11_token import AnyTokenKey, Token
from keyfob_host.pki.pkcs11_uri import parse_uri
from keyfob_host.ui import Ui

_Command = TypeVar("_Command", bound=Callable[..., Any])


def token_options(command: _Command) -> _Command:
    """``--pkcs11 URI`` and ``--existing-key``."""
    uri = click.option(
        "--pkcs11",
        metavar="URI",
        help="Make the key in this token (RFC 7512): 'pkcs11:token=…;object=…?module-path=…'.",
    )
    existing = click.option(
        "--existing-key", is_flag=True, help="With --pkcs11: take the key that is in the token."
    )
    return uri(existing(command))


@contextmanager
def token_key(
    ui: Ui, text: str, pin: bytes | None, key_type: str, *, existing: bool
) -> Iterator[AnyTokenKey]:
    """The CA's key in the token of URI ``text``; ``pin`` is asked for where it is None.

    A key that was made is removed again if what it was made for fails. Errors: those of
    `parse_uri` and `Token`.
    """
    uri = parse_uri(text)
    if pin is None:
        pin = ask_passphrase(f"PIN of token {uri.token or uri.serial}")
    token = Token(uri, pin, writable=not existing)
    try:
        key = token.find_key() if existing else token.make_key(key_type)
        if token.is_extractable(key):
            ui.step("note: the token would give this key away (CKA_EXTRACTABLE); one made with "
                    "keyfob ca init --pkcs11 it would not")  # fmt: skip
        try:
            yield key
        except BaseException:
            if not existing:
                token.destroy_key(key)
            raise
    finally:
        token.close()
