"""``keyfob provision --key-on-board``: its options, and the three ways to a certificate."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import rich_click as click

from keyfob_host.commands.passphrase import passphrase_options, unlock
from keyfob_host.files import write_atomic
from keyfob_host.pki.inventory_disk import open_inventory, record_board, record_signed
from keyfob_host.pki.revocation import refuse_revoked_key
from keyfob_host.provision.board_name import board_name
from keyfob_host.provision.settings import Settings
from keyfob_host.transport import Via, open_transport
from keyfob_host.ui import Ui

if TYPE_CHECKING:
    from keyfob_host.boards import BoardRef
    from keyfob_host.home import Home
    from keyfob_host.pki.authority import Authority
    from keyfob_host.pki.identity import Issued
    from keyfob_host.pki.request import CertificateRequest
    from keyfob_host.provision.board_key import BoardKey

_Command = TypeVar("_Command", bound=Callable[..., Any])
_File = click.Path(path_type=Path)


@dataclass(frozen=True)
class KeyOptions:
    """What `key_options` collect."""

    key_on_board: bool
    csr_out: Path | None
    chain: Path | None
    ca: Path | None
    slot: int | None
    new_key: bool
    force: bool
    passphrase_file: Path | None
    passphrase_env: str | None

    def check(self, identity: str | None, dry_run: bool) -> None:
        """Refuse what makes no sense together; `click.UsageError`."""
        if not self.key_on_board:
            given = [
                name
                for name, value in vars(self).items()
                if value is not None and value is not False
            ]
            if given:
                option = given[0].replace("_", "-")
                raise click.UsageError(f"--{option} goes with --key-on-board.")
            return
        if identity is not None and ("/" in identity or identity in (".", "..")):
            raise click.UsageError("With --key-on-board, --identity is a device's id.")
        if self.csr_out is not None and self.chain is not None:
            raise click.UsageError("First --csr-out, and in a second run --chain.")
        if self.ca is not None and self.chain is None:
            raise click.UsageError("--ca goes with --chain.")
        if self.new_key and self.slot is None:
            raise click.UsageError("--new-key goes with --slot; without one, each key is new.")
        if dry_run:
            raise click.UsageError("A key cannot be made for show: no --dry-run here.")


def key_options(command: _Command) -> _Command:
    """The options of a key that is born on the board."""
    options = (
        click.option(
            "--key-on-board", is_flag=True, help="The board makes its key, which never leaves it."
        ),
        click.option(
            "--csr-out", type=_File, metavar="FILE", help="Its request, for another CA; stop there."
        ),
        click.option(
            "--chain", type=_File, metavar="FILE|DIR", help="The certificate from that CA."
        ),
        click.option(
            "--ca", type=_File, metavar="FILE", help="With --chain: the CA of the brokers to trust."
        ),
        click.option(
            "--slot", type=click.IntRange(0, 127), metavar="N",
            help="The key is in slot N of the board's secure element.",
        ),
        click.option("--new-key", is_flag=True, help="With --slot: a new key, though it has one."),
        click.option("--force", is_flag=True, help="Replace an identity whose key is here."),
    )  # fmt: skip
    command = passphrase_options(command)
    for option in reversed(options):
        command = option(command)
    return command


def provision_key(
    ui: Ui,
    ref: BoardRef,
    home: Home,
    device_id: str | None,
    settings: Settings,
    given: KeyOptions,
    via: Via,
    reset: bool,
) -> None:
    """Key and request on the board; a certificate from the bench's CA, or from elsewhere."""
    from keyfob_host.provision import elsewhere, on_board

    choice = on_board.KeyChoice(given.slot, given.new_key, given.force)
    if given.csr_out is not None:
        elsewhere.check_request_file(given.csr_out)
        with ref.held(), open_transport(ref, via) as board:
            key = on_board.make_request(board, home, device_id, choice, ui.step)
            write_atomic(given.csr_out, key.request.pem())
            if reset:
                board.reset()
        _show_request(ui, key, given.csr_out, device_id is None)
        return
    # Before the board is touched: a passphrase may be asked for, a file be none.
    source: Issued | on_board.Sign
    if given.chain is not None:
        source = elsewhere.read_chain(given.chain, given.ca, home)
    else:
        authority = unlock(home.ca_dir, given.passphrase_file, given.passphrase_env)
        source = partial(_sign, home, authority)
    with ref.held(), open_transport(ref, via) as board:
        report = on_board.provision_on_board(
            board, ref.kind, home, settings, source,
            device_id=device_id, choice=choice, on_step=ui.step,
        )  # fmt: skip
        written_to = board_name(ref, board)
        if reset:
            board.reset()
    record_board(home, report.digests["cert.der"], written_to)
    ui.result(report.summary(), report.as_dict())


def _sign(home: Home, authority: Authority, request: CertificateRequest) -> Issued:
    """What the CA makes of the board's request; error ``cert.key-revoked`` and its own."""
    inventory, _ = open_inventory(home)
    with inventory:
        refuse_revoked_key(inventory, request.name, request.public_key)
    issued = authority.issue_from_request(request)
    # Before the board has it: a run that is cut leaves none that no revocation reaches.
    record_signed(home, issued.cert, "device")
    return issued


def _show_request(ui: Ui, key: BoardKey, path: Path, add_identity: bool) -> None:
    name = key.request.name
    following = _second_command(sys.argv[1:], name, add_identity)
    ui.result(
        f"{name}: a key was made in slot {key.slot} and waits for its certificate\n"
        f"files    {path} (the request)\n"
        f"next     {following}",
        {"device_id": name, "slot": key.slot, "request": str(path), "next": following},
    )


def _second_command(arguments: list[str], name: str, add_identity: bool) -> str:
    """This command line with ``--chain`` in the place of ``--csr-out``, for a shell."""
    words: list[str] = []
    skip = False
    for word in arguments:
        if skip or word == "--csr-out" or word.startswith("--csr-out="):
            skip = word == "--csr-out" and not skip
            continue
        words.append(word)
    words += ["--identity", name] if add_identity else []
    return shlex.join(["keyfob", *words, "--chain", "chain.pem"])
