"""``keyfob cert revoke``: a certificate that counts no more, and the CRL that says so."""

from __future__ import annotations

import time
from pathlib import Path

import rich_click as click

from keyfob_host.broker_bench import broker_rereads
from keyfob_host.commands.ca_crl import unlock_authorities
from keyfob_host.commands.passphrase import passphrase_options
from keyfob_host.errors import ExitStatus, KeyfobHostError
from keyfob_host.home import find_home
from keyfob_host.pki import bench
from keyfob_host.pki.authority import load_ca_cert
from keyfob_host.pki.crl import REASONS
from keyfob_host.pki.inventory import MIN_SERIAL_DIGITS, Inventory, Record
from keyfob_host.pki.inventory_disk import open_inventory, take_in
from keyfob_host.pki.inventory_row import KINDS
from keyfob_host.pki.revocation import crl_states
from keyfob_host.pki.revocation import revoke as revoke_records
from keyfob_host.ui import Ui


@click.command()
@click.argument("names", metavar="NAME|SERIAL...", nargs=-1, required=True)
@click.option(
    "--reason", type=click.Choice(REASONS, case_sensitive=False), default="unspecified",
    show_default=True, help="Why, as RFC 5280 names it.",
)  # fmt: skip
@click.option("--kind", type=click.Choice(KINDS[1:]), help="Where a name has several.")
@click.option("--end-sessions", is_flag=True, help="Restart the broker, which ends every session.")
@passphrase_options
@click.pass_obj
def revoke(
    ui: Ui,
    names: tuple[str, ...],
    reason: str,
    kind: str | None,
    end_sessions: bool,
    passphrase_file: Path | None,
    passphrase_env: str | None,
) -> None:
    """Revoke certificates, sign the CRL anew, and let the running broker read it.

    A NAME means every certificate of that name that has not expired, replaced ones too: a
    board keeps its former identity in its other slot. A SERIAL, or its first 8 digits or
    more, means that one certificate. There is no way back; issue a new one instead.
    """
    home = find_home()
    load_ca_cert(home.ca_dir)
    inventory, _ = open_inventory(home)
    with inventory:
        found = list(dict.fromkeys(one for name in names for one in _meant(inventory, name, kind)))
        new = [one for one in found if one.revoked_s is None]
        broker = ""
        if new:
            authorities = unlock_authorities(ui, home, passphrase_file, passphrase_env)
            revoke_records(home, inventory, new, reason, authorities)
            if any(one.kind == "host" and one.stored_state == "issued" for one in new):
                # The broker is asked with it whether it serves, and it may not be without.
                authorities[0].issue_host().write(bench.host_dir(home), force=True)
                take_in(inventory, home)
        if new or end_sessions:
            broker = broker_rereads(home, end_sessions=end_sessions)
    states = crl_states(home)
    ui.result(
        "\n".join(_lines(found, new, reason, broker, end_sessions))
        + "".join(f"\ncrl      {one.line()}" for one in states),
        {
            "revoked": [_fields(one) for one in new],
            "already_revoked": [_fields(one) for one in found if one not in new],
            "reason": reason,
            "crls": [one.as_dict() for one in states],
            "broker": broker,
        },
    )


def _meant(inventory: Inventory, name: str, kind: str | None) -> list[Record]:
    """The certificates that ``name`` means; errors ``cert.unknown``, ``cert.which``."""
    found = [one for one in inventory.named(name) if kind in (None, one.kind)]
    kinds = sorted({one.kind for one in found})
    if len(kinds) > 1:
        raise KeyfobHostError(
            "cert.which",
            f"{name!r} is the name of several kinds of certificates",
            evidence=", ".join(kinds),
            fix=f"keyfob cert revoke {name} --kind {kinds[0]}",
        )
    if len(found) > 1 and not found[0].is_called(name):
        raise KeyfobHostError(
            "cert.which",
            f"several serial numbers begin with {name!r}",
            evidence=", ".join(one.serial for one in found[:4]),
            fix=f"keyfob cert revoke {found[0].serial}",
        )
    if found and found[0].is_called(name):
        trusted = inventory.trusted_keys()
        ends = time.time()
        found = [
            one for one in found if one.not_after_s > ends and one.issuer_key in trusted
        ] or found[-1:]
    if found:
        return found
    raise KeyfobHostError(
        "cert.unknown",
        f"this bench has issued no certificate {name!r}",
        evidence=f"no such name, and no serial number that begins so ({MIN_SERIAL_DIGITS} "
        "digits at least)",
        fix="keyfob cert list",
        status=ExitStatus.IDENTITY,
    )


def _lines(
    found: list[Record], new: list[Record], reason: str, broker: str, end_sessions: bool
) -> list[str]:
    lines = []
    for one in found:
        if one in new:
            lines.append(f"revoked  {one.kind} {one.name}, serial {one.serial}, {reason}")
        else:
            when = time.strftime("%Y-%m-%d", time.gmtime(one.revoked_s))
            lines.append(
                f"before   {one.kind} {one.name}, serial {one.serial}, {one.reason}, on {when}"
            )
    if broker:
        lines.append(f"broker   {broker}")
    if broker == "reloaded":
        name = found[0].name
        lines.append(
            "note     a session that stands goes on; to end it: "
            f"keyfob cert revoke {name} --end-sessions"
        )
    if any(one.kind == "broker" and one.stored_state == "issued" for one in new):
        name = next(one.name for one in new if one.kind == "broker")
        lines.append(f"next     keyfob cert renew {name} --new-key")
    if any(one.kind == "intermediate" for one in new):
        lines.append("next     keyfob ca intermediate --force, then issue everything again")
    return lines


def _fields(record: Record) -> dict[str, str]:
    return {"kind": record.kind, "name": record.name, "serial": record.serial}
