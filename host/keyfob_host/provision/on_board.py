"""Provision a board whose key is made on it and stays there.

The board makes the key in its inactive slot and signs a request; a CA here, or one
elsewhere, turns that into a certificate; chain, trust anchors and manifest go into the
same slot. Before the switch the board itself loads the new identity, key and certificate
a pair. Interrupted anywhere, the board has the old identity; the key that waits is used
when its certificate comes, and otherwise replaced by the next run.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cryptography import x509

from keyfob_host.errors import ExitStatus, KeyfobHostError, explain_os_error
from keyfob_host.pki.authority import load_ca_cert
from keyfob_host.pki.bench import device_dir
from keyfob_host.pki.identity import (
    KEY_FILE,
    REQUEST_FILE,
    Issued,
    Requested,
    read_issued,
)
from keyfob_host.pki.inventory_disk import open_inventory, recording
from keyfob_host.pki.keys import public_der
from keyfob_host.pki.names import check_device_id
from keyfob_host.pki.request import CertificateRequest
from keyfob_host.pki.revocation import refuse_revoked
from keyfob_host.provision import board_key
from keyfob_host.provision.board_key import BoardKey
from keyfob_host.provision.identity import (
    MANIFEST,
    certificate_files,
    check_identity,
    manifest_text,
)
from keyfob_host.provision.provisioning import (
    OnStep,
    ProvisionReport,
    Settings,
    active_slot,
    add_files,
    make_active,
    present_settings,
    stage_settings,
)
from keyfob_host.provision.settings import settings_text
from keyfob_host.transport import Transport

if TYPE_CHECKING:
    from keyfob_host.boards import BoardKind
    from keyfob_host.home import Home

Sign = Callable[[CertificateRequest], Issued]


@dataclass(frozen=True)
class KeyChoice:
    """Which key: ``element``, a slot of the board's secure element (None: a file on the
    board); ``is_new``, another one even where the element's slot has one. ``force``: an
    identity of that name whose key is on this machine may be replaced."""

    element: int | None = None
    is_new: bool = False
    force: bool = False


@dataclass(frozen=True)
class OnBoardReport(ProvisionReport):
    """As `ProvisionReport`; ``folder``: where the certificate is kept here, without a key."""

    element: int | None
    folder: str

    def summary(self) -> str:
        """For people, three lines."""
        where = "on the board" if self.element is None else f"in slot {self.element} of its element"
        return f"{super().summary()}\nits key was made {where} and is nowhere else\n" + (
            f"files    {self.folder}"
        )

    def as_dict(self) -> dict[str, object]:
        return {**super().as_dict(), "element": self.element, "folder": self.folder}


def device_of(board: Transport, device_id: str | None) -> str:
    """``device_id``, or the board's serial number. Errors: ``cert.bad-id``, ``board.*``."""
    name = device_id if device_id is not None else board_key.serial_number(board)
    check_device_id(name)
    return name


def make_request(
    board: Transport,
    home: Home,
    device_id: str | None,
    choice: KeyChoice,
    on_step: OnStep = lambda _text: None,
) -> BoardKey:
    """A new key in the board's inactive slot. Errors: ``cert.exists`` (see `KeyChoice`),
    ``provision.element-needs-engine``, those of `board_key.make_key`."""
    name = device_of(board, device_id)
    _check_folder(device_dir(home, name), choice)
    slot = "b" if active_slot(board) == "a" else "a"
    on_step(f"  the board makes a key for {name}")
    return board_key.make_key(board, slot, name, element=choice.element, is_new=choice.is_new)


def provision_on_board(
    board: Transport,
    kind: BoardKind,
    home: Home,
    settings: Settings,
    source: Issued | Sign,
    *,
    choice: KeyChoice,
    device_id: str | None = None,
    on_step: OnStep = lambda _text: None,
) -> OnBoardReport:
    """Make a key on the board the key of its identity.

    ``source``: who signs the request of a new key, or the certificate for the key that
    waits since `make_request`. Before a key is made, a certificate of the bench's CA that
    is kept here and not on the board yet goes to its key: one that waits since a run that
    was interrupted, or the one in use, whose certificate was renewed. Errors:
    ``provision.no-key-waiting``,
    ``provision.other-key`` and more ``provision.*``, ``cert.*``, ``board.*``, and the
    board's own.
    """
    if device_id is None and isinstance(source, Issued):
        device_id = source.name
    name = device_of(board, device_id)
    folder = device_dir(home, name)
    _check_folder(folder, choice)
    before = active_slot(board)
    slot = "b" if before == "a" else "a"
    text = _settings(board, kind, settings, name, choice)
    if isinstance(source, Issued):
        key = _waiting_key(board, slot, name)
        issued: Issued = Requested(
            cert=source.cert, anchors=source.anchors, intermediates=source.intermediates,
            request=key.request,
        )  # fmt: skip
    else:
        found = _kept_here(board, before, slot, name, home)
        key, issued = found or _signed(board, slot, name, choice, source, on_step)
    _check_pair(key, issued)
    _check_issued(issued, name)
    report = _report(key, issued, text, before, folder, choice)
    _write(board, key, issued, text, report, on_step)
    # Before the switch: an interrupted run then goes on with this certificate.
    profile = "" if isinstance(source, Issued) else "device"
    with recording(home, folder, kind="device", profile=profile):
        issued.write(folder, force=True)
    make_active(board, slot, before, on_step)
    return report


def _check_folder(folder: Path, choice: KeyChoice) -> None:
    with explain_os_error(folder, "look for an identity"):
        has_key = (folder / KEY_FILE).exists()
    if has_key and not choice.force:
        raise KeyfobHostError(
            "cert.exists", f"there is an identity {folder.name!r} whose key is on this machine",
            evidence=f"{folder}: {KEY_FILE}",
            fix="to replace it by one whose key is on the board, run the command again with "
            "--force; or give another name: --identity ID",
            status=ExitStatus.IDENTITY,
        )  # fmt: skip


def _settings(
    board: Transport, kind: BoardKind, settings: Settings, name: str, choice: KeyChoice
) -> bytes:
    text = settings_text(settings, kind, name, present_settings(board))
    engine = json.loads(text)["tls"]["engine"]
    if choice.element is not None and engine != "keyfob":
        raise KeyfobHostError(
            "provision.element-needs-engine",
            "MicroPython's own TLS takes keys in files only; Keyfob's engine takes them in a "
            "secure element",
            evidence=f"tls.engine: {engine}",
            fix="keyfob sync --tls-engine keyfob, then provision with --set tls.engine=keyfob",
            status=ExitStatus.USAGE,
        )  # fmt: skip
    return text


def _signed(
    board: Transport, slot: str, name: str, choice: KeyChoice, sign: Sign, on_step: OnStep
) -> tuple[BoardKey, Issued]:
    on_step(f"  the board makes a key for {name}")
    key = board_key.make_key(board, slot, name, element=choice.element, is_new=choice.is_new)
    return key, sign(key.request)


def _kept_here(
    board: Transport, before: str | None, slot: str, name: str, home: Home
) -> tuple[BoardKey, Issued] | None:
    """The certificate kept here and its key on the board: one that waits, or the one in use
    for which this is a new certificate."""
    folder = device_dir(home, name)
    if not (folder / REQUEST_FILE).exists() or (folder / KEY_FILE).exists():
        return None
    issued = read_issued(folder)
    if not _is_current(issued, name, home):
        return None
    key = board_key.waiting_key(board, slot, name)
    if key is not None and _is_for(issued, key.request.public_key):
        return key, issued
    if before is None or board.hash(f"/id/{before}/cert.der") is None:
        return None
    der = board.read(f"/id/{before}/cert.der")
    try:
        in_use = x509.load_der_x509_certificate(der).public_key()
    except ValueError:  # damaged: there is nothing in it to keep
        return None
    if der == issued.cert_der() or not _is_for(issued, in_use):
        return None
    return board_key.keep_key(board, slot, name), issued


def _is_for(issued: Issued, key: object) -> bool:
    return public_der(issued.cert.public_key()) == public_der(key)


def _is_current(issued: Issued, name: str, home: Home) -> bool:
    """Whether the bench's CA of today issued it, and it could connect."""
    try:
        check_identity(issued, device_id=name)
        inventory, _ = open_inventory(home)
        with inventory:
            refuse_revoked(inventory, issued.cert, name)
        return load_ca_cert(home.ca_dir) in issued.anchors
    except KeyfobHostError:
        return False


def _waiting_key(board: Transport, slot: str, name: str) -> BoardKey:
    key = board_key.waiting_key(board, slot, name)
    if key is None:
        raise KeyfobHostError(
            "provision.no-key-waiting", "no key on this board waits for a certificate",
            evidence=f"/id/{slot}: no key.der of the board's making without a {MANIFEST}",
            fix="make a new one: keyfob provision --key-on-board --csr-out request.pem",
            status=ExitStatus.BOARD,
        )  # fmt: skip
    return key


def _check_issued(issued: Issued, name: str) -> None:
    """As `check_identity`; but a new key on this machine would mend nothing."""
    try:
        check_identity(issued, device_id=name)
    except KeyfobHostError as error:
        error.fix = (
            "add --ca FILE, the CA that issued it; intermediates go behind it in --chain"
            if error.code == "provision.chain-broken"
            else "have the board's request signed as this says, and give that to --chain"
        )
        raise


def _check_pair(key: BoardKey, issued: Issued) -> None:
    if _is_for(issued, key.request.public_key):
        return
    raise KeyfobHostError(
        "provision.other-key", "the certificate is not for the key that waits on the board",
        evidence=f"public key {_short(issued.cert.public_key())} in the certificate of "
        f"{issued.name!r}, {_short(key.request.public_key)} on the board",
        fix="have this board's request signed, or make a new one: "
        "keyfob provision --key-on-board --csr-out request.pem",
        status=ExitStatus.IDENTITY,
    )  # fmt: skip


def _short(key: object) -> str:
    return hashlib.sha256(public_der(key)).hexdigest()[:16]


def _write(
    board: Transport,
    key: BoardKey,
    issued: Issued,
    text: bytes,
    report: OnBoardReport,
    on_step: OnStep,
) -> None:
    """Settings staged, certificates and manifest beside the key, all judged by the board."""
    folder = f"/id/{key.slot}"
    # Judged first: settings that the board refuses leave both of its identities alone.
    stage_settings(board, text, on_step)
    add_files(board, folder, certificate_files(issued), {"key.der": key.digest}, on_step)
    manifest = manifest_text(report.device_id, int(time.time()), report.digests)
    add_files(board, folder, {MANIFEST: manifest}, {}, on_step)
    board_key.check_slot(board, key.slot, report.device_id)


def _report(
    key: BoardKey,
    issued: Issued,
    text: bytes,
    before: str | None,
    folder: Path,
    choice: KeyChoice,
) -> OnBoardReport:
    contents = certificate_files(issued)
    digests = {name: hashlib.sha256(data).hexdigest() for name, data in contents.items()}
    broker = json.loads(text)["broker"]
    return OnBoardReport(
        device_id=key.request.name,
        slot=key.slot,
        before=before,
        files={f"/id/{key.slot}/{name}": len(data) for name, data in contents.items()},
        digests={**digests, "key.der": key.digest},
        not_after=f"{issued.cert.not_valid_after_utc:%Y-%m-%d %H:%M}Z",
        broker=f"{broker['host']}:{broker['port']}",
        dry_run=False,
        element=choice.element,
        folder=str(folder),
    )
