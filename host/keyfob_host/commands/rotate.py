"""``keyfob rotate``: a new certificate or new trust anchors for a board, over MQTT."""

from __future__ import annotations

import time
from contextlib import AbstractContextManager
from pathlib import Path

import rich_click as click
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from keyfob_host.commands.passphrase import passphrase_options, unlock
from keyfob_host.home import Home, find_home
from keyfob_host.pki import bench
from keyfob_host.pki.authority import Authority
from keyfob_host.pki.ca_folder import trusted_certs
from keyfob_host.pki.identity import Identity, Requested, load_certs, read_issued
from keyfob_host.pki.inventory_disk import open_inventory, record_signed
from keyfob_host.pki.renewal import renew
from keyfob_host.pki.revocation import refuse_revoked, refuse_revoked_key
from keyfob_host.rotation.delivery import Delivery
from keyfob_host.rotation.keeping import keep
from keyfob_host.rotation.offer import anchor_files, certificate_files, make_offer
from keyfob_host.rotation.sender import bench_client, board_state, deliver
from keyfob_host.rotation.state import BoardState
from keyfob_host.ui import Ui

_UNANSWERED = ("rotate.no-state", "rotate.timeout")


@click.command()
@click.argument("device_id", metavar="ID")
@click.option("--anchors", is_flag=True, help="Send the bench's trust anchors, no certificate.")
@click.option(
    "--anchor", "anchor_paths", multiple=True, type=click.Path(path_type=Path), metavar="FILE",
    help="Send these trust anchors instead (PEM or DER, several times).",
)  # fmt: skip
@click.option(
    "--signing-ca", type=click.Path(path_type=Path), metavar="FOLDER",
    help="The CA that the board trusts already, where that is not the bench's own.",
)  # fmt: skip
@click.option("--days", type=click.IntRange(1, 36500), help="Validity of the new certificate.")
@click.option("--dry-run", is_flag=True, help="Show what would be sent.")
@click.option(
    "--limit-s", type=click.FloatRange(1, 86400), default=300.0, show_default=True,
    help="Give up waiting for the board after so many seconds.",
)  # fmt: skip
@passphrase_options
@click.pass_obj
def rotate(
    ui: Ui,
    device_id: str,
    anchors: bool,
    anchor_paths: tuple[Path, ...],
    signing_ca: Path | None,
    days: int | None,
    dry_run: bool,
    limit_s: float,
    passphrase_file: Path | None,
    passphrase_env: str | None,
) -> None:
    """Send board ID a new certificate for the key it has, or new trust anchors.

    The board tries to connect with them, and goes back to what it had if it cannot. If the
    bench has a newer certificate than the board (keyfob cert renew ID --keep-key), that one
    is sent; else one is issued. A board that is not connected gets them over its serial
    port: keyfob provision --identity ID.
    """
    if (anchors or anchor_paths) and days:
        raise click.UsageError("--days is for a certificate, not for trust anchors.")
    home = find_home()
    present = read_issued(bench.device_dir(home, device_id))
    trusted = _anchors(home, anchors, anchor_paths)
    with _diagnosing(ui, home, device_id), bench_client(home) as client:
        state = board_state(client, device_id)
        signer = unlock(signing_ca or home.ca_dir, passphrase_file, passphrase_env)
        issued = None
        if trusted:
            files = anchor_files(trusted)
        else:
            issued = _certificate(
                home, signer if signing_ca is None else None, present, state, days
            )
            files = certificate_files(issued)
        created_s = max(int(time.time()), state.created_s + 1)
        offer = make_offer(device_id, files, signer.key, created_s)
        what = ", ".join(f"{name} ({len(content)} bytes)" for name, content in files.items())
        data = {
            "device_id": device_id, "slot": state.slot, "cert": state.cert, "dry_run": dry_run,
            "files": {name: len(content) for name, content in files.items()},
            "signer": signer.cert.subject.rfc4514_string(), "created_s": created_s,
        }  # fmt: skip
        if dry_run:
            signed = f"signed by {data['signer']}"
            ui.result(f"{device_id}: would send {what}, {signed}", {**data, "committed": False})
            return
        ui.step(f"{device_id}: {what}")
        if issued is not None and issued is not present:
            record_signed(home, issued.cert, "")
        deliver(client, Delivery(offer), state, limit_s=limit_s, on_step=ui.step)
    if issued is not None and issued is not present:
        keep(home, device_id, issued)
    until = f", valid until {issued.cert.not_valid_after_utc:%Y-%m-%d}" if issued else ""
    kind = "certificate" if issued else "trust anchors"
    ui.result(f"{device_id}: connected with the new {kind}{until}", {**data, "committed": True})


def _diagnosing(ui: Ui, home: Home, device_id: str) -> AbstractContextManager[None]:
    """A board that leaves the bench without an answer is looked at, where it is at hand."""
    from keyfob_host.doctor.after_failure import diagnosing, sightings_of_device

    return diagnosing(_UNANSWERED, lambda: sightings_of_device(home, device_id), on_step=ui.step)


def _anchors(home: Home, own: bool, paths: tuple[Path, ...]) -> list[x509.Certificate]:
    if own and paths:
        raise click.UsageError("Give --anchors or --anchor FILE, not both.")
    if own:
        return list(trusted_certs(home.ca_dir))
    return [cert for path in paths for cert in load_certs(path, "the trust anchor")]


def _certificate(
    home: Home,
    authority: Authority | None,
    present: Identity | Requested,
    state: BoardState,
    days: int | None,
) -> Identity | Requested:
    """What the bench has that the board has not, or one that is issued now.

    ``authority``: None where another one only signs the offer.
    """
    has = present.cert.fingerprint(hashes.SHA256()).hex()[: len(state.cert)]
    inventory, _ = open_inventory(home)
    with inventory:
        if authority is None or (state.cert and has != state.cert and not days):
            refuse_revoked(inventory, present.cert, present.name)
            return present
        key = (
            present.key.public_key()
            if isinstance(present, Identity)
            else present.request.public_key
        )
        refuse_revoked_key(inventory, present.name, key)
    return renew(authority, present, new_key=False, days=days)
