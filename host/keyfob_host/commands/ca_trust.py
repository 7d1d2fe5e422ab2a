"""``keyfob ca trust``: put the CA into the operating system's trust store, take it out again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import rich_click as click
from cryptography import x509

from keyfob_host.home import find_home
from keyfob_host.pki.authority import CERT_FILE, load_ca_cert
from keyfob_host.pki.identity import load_certs
from keyfob_host.pki.os_trust import Step, TrustStore, carry_out, check_trust_anchor, find_store
from keyfob_host.printable import printable
from keyfob_host.ui import Ui

_Command = TypeVar("_Command", bound=Callable[..., Any])

_ELSEWHERE = "note     Firefox, Java and Python's certifi have stores of their own"


@click.group()
def trust() -> None:
    """Let this machine's programs trust the bench's CA, or no longer."""


def _options(command: _Command) -> _Command:
    for option in (
        click.option("--dry-run", is_flag=True, help="Show the commands, do nothing."),
        click.option(
            "--cert", type=click.Path(path_type=Path), help="Another CA's certificate (PEM, DER)."
        ),
    ):
        command = option(command)
    return command


@trust.command()
@_options
@click.pass_obj
def install(ui: Ui, dry_run: bool, cert: Path | None) -> None:
    """Let every program of this machine trust the CA. Twice is fine."""
    anchor, file = _anchor(cert)
    check_trust_anchor(anchor)
    store = find_store()
    steps = store.install_steps(anchor, file)
    if dry_run:
        _show_steps(ui, store, steps)
        return
    there = store.has(anchor)
    if not there:
        carry_out(store, steps)
    word = "already trusted" if there else f"now trusted ({store.path(anchor) or store.system})"
    _result(ui, store, anchor, f"{word}\n{_ELSEWHERE}", changed=not there)


@trust.command()
@_options
@click.pass_obj
def remove(ui: Ui, dry_run: bool, cert: Path | None) -> None:
    """Take the CA out of the trust store, if `keyfob ca trust install` put it there."""
    anchor, file = _anchor(cert)
    store = find_store()
    steps = store.remove_steps(anchor, file)
    if dry_run:
        _show_steps(ui, store, steps)
        return
    there = store.has(anchor)
    if there:
        carry_out(store, steps)
    word = "no longer trusted" if there else "was not in the trust store"
    _result(ui, store, anchor, word, changed=there)


def _anchor(cert: Path | None) -> tuple[x509.Certificate, Path]:
    """The certificate, and a file that it stands in."""
    if cert is not None:
        return load_certs(cert, "the CA certificate")[0], cert.resolve()
    folder = find_home().ca_dir
    return load_ca_cert(folder), folder / CERT_FILE


def _show_steps(ui: Ui, store: TrustStore, steps: list[Step]) -> None:
    commands = [str(step) for step in steps]
    text = "\n".join([f"on {store.system}, as root:", *(f"  {one}" for one in commands)])
    ui.result(text, {"system": store.system, "commands": commands, "changed": False})


def _result(
    ui: Ui, store: TrustStore, anchor: x509.Certificate, text: str, *, changed: bool
) -> None:
    subject = anchor.subject.rfc4514_string()
    ui.result(
        f"{printable(subject)}: {text}",
        {"system": store.system, "subject": subject, "changed": changed,
         "file": store.path(anchor)},
    )  # fmt: skip
