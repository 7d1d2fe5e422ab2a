"""``keyfob cert renew``: certificates in use, issued again before they end."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from shlex import quote

import rich_click as click

from keyfob_host.broker import MosquittoBroker
from keyfob_host.broker_bench import broker_rereads
from keyfob_host.commands.passphrase import passphrase_options, unlock
from keyfob_host.durations import parse_duration
from keyfob_host.errors import ExitStatus, KeyfobHostError
from keyfob_host.home import Home, find_home
from keyfob_host.pki import bench
from keyfob_host.pki.authority import Authority, load_ca_cert
from keyfob_host.pki.expiry import records_ending
from keyfob_host.pki.identity import Identity, read_issued
from keyfob_host.pki.inventory import Inventory, Record
from keyfob_host.pki.inventory_disk import open_inventory, row_of
from keyfob_host.pki.profiles import load_profile
from keyfob_host.pki.renewal import renew as issue_again
from keyfob_host.pki.revocation import refuse_revoked_key
from keyfob_host.ui import Ui

_KINDS = ("broker", "device", "host")


@dataclass(frozen=True)
class _Renewed:
    record: Record
    not_after: datetime
    key: str  # "new key", "same key" or "key elsewhere"
    broker: str

    def line(self) -> str:
        text = f"renewed  {self.record.name}: until {self.not_after:%Y-%m-%d}, {self.key}"
        if self.broker:
            return f"{text}; the broker was {self.broker} and serves it"
        if self.record.kind == "device":
            on_board = " --key-on-board" if self.key == "key elsewhere" else ""
            folder = Path(self.record.folder)
            identity = folder if folder.is_absolute() else folder.name
            return f"{text}\nnext     keyfob provision --identity {identity}{on_board}"
        return text


@click.command()
@click.argument("names", metavar="[NAME...]", nargs=-1)
@click.option("--expiring-within", metavar="SPAN", help="All that end within, as 30d.")
@click.option("--kind", type=click.Choice(_KINDS), help="Where a name has several.")
@click.option(
    "--new-key/--keep-key", default=None, help="Default: a new key where the key is here."
)
@click.option(
    "--days", type=click.IntRange(1, 36500), help="Validity, instead of the present one's."
)
@passphrase_options
@click.pass_obj
def renew(
    ui: Ui,
    names: tuple[str, ...],
    expiring_within: str | None,
    kind: str | None,
    new_key: bool | None,
    days: int | None,
    passphrase_file: Path | None,
    passphrase_env: str | None,
) -> None:
    """Issue certificates again, with the same subject, names and usages.

    The former ones are recorded as replaced and count until they end; to end that at
    once, revoke them by serial. The running broker is told of its own, and is looked at
    until it serves it. Boards get theirs by keyfob provision.
    """
    if bool(names) == (expiring_within is not None):
        raise click.UsageError("Give names, or --expiring-within.")
    home = find_home()
    load_ca_cert(home.ca_dir)
    inventory, _ = open_inventory(home)
    with inventory:
        if expiring_within is None:
            wanted = list(dict.fromkeys(_in_use(inventory, name, kind) for name in names))
        else:
            until = datetime.now(timezone.utc) + parse_duration(expiring_within)
            ending = records_ending(home, inventory, until)
            wanted = [one for one in ending if one.kind in _KINDS and kind in (None, one.kind)]
            for one in ending:
                if one.kind not in _KINDS:
                    ui.step(f"note: {one.kind} {one.name} ends soon too: keyfob cert expiring")
        for one in wanted:
            _check(home, inventory, one, new_key)
        done: list[_Renewed] = []
        if wanted:
            authority = unlock(home.ca_dir, passphrase_file, passphrase_env)
            for one in wanted:
                done.append(_renew_one(home, inventory, authority, one, new_key, days))
                ui.step(done[-1].line()) if len(wanted) > 1 else None
            end = authority.cert.not_valid_after_utc
            if any(one.not_after == end for one in done):
                ui.step(f"note: the CA ends on {end:%Y-%m-%d}; for the next: keyfob ca rollover")
    text = "\n".join(one.line() for one in done) if len(done) == 1 else f"{len(done)} renewed"
    ui.result(
        text if wanted else f"nothing ends within {expiring_within}",
        {
            "renewed": [
                {
                    "kind": one.record.kind,
                    "name": one.record.name,
                    "replaced": one.record.serial,
                    "not_after": one.not_after.isoformat(),
                    "key": one.key,
                    "broker": one.broker,
                }
                for one in done
            ]
        },
    )


def _in_use(inventory: Inventory, name: str, kind: str | None) -> Record:
    """The certificate in use of that name; errors ``cert.unknown``, ``cert.which``."""
    found = [
        one
        for one in inventory.named(name)
        if one.is_called(name)
        and one.kind in _KINDS
        and kind in (None, one.kind)
        and one.stored_state == "issued"
        and one.folder
    ]
    if len({one.kind for one in found}) > 1:
        kinds = ", ".join(sorted(one.kind for one in found))
        raise KeyfobHostError(
            "cert.which",
            f"{name!r} is the name of several kinds of certificates",
            evidence=kinds,
            fix=f"keyfob cert renew {name} --kind {found[0].kind}",
        )
    if not found:
        raise KeyfobHostError(
            "cert.unknown",
            f"this bench has no certificate {name!r} to renew",
            evidence=f"none of that name is in use{f' as a {kind}' if kind else ''}",
            fix=f"keyfob cert list; for a new one: keyfob cert {kind or 'device'} {quote(name)}",
            status=ExitStatus.IDENTITY,
        )
    # Several brokers may have one common name, which a profile made; folders differ.
    found = [one for one in found if Path(one.folder).name == name] or found
    folders = sorted({Path(one.folder).name for one in found})
    if len(folders) > 1:
        raise KeyfobHostError(
            "cert.which",
            f"{name!r} is the common name of several certificates",
            evidence=", ".join(folders),
            fix=f"keyfob cert renew {' '.join(map(quote, folders))}",
        )
    return found[-1]


def _check(home: Home, inventory: Inventory, record: Record, new_key: bool | None) -> None:
    """Before any passphrase is asked for: a key that was revoked gets no other certificate."""
    old = read_issued(home.root / record.folder)
    if not isinstance(old, Identity):
        refuse_revoked_key(inventory, record.name, old.request.public_key)
    elif new_key is False:
        refuse_revoked_key(inventory, record.name, old.key.public_key())


def _profile_days(record: Record) -> int:
    """How long its profile wants it to last, or the usual one of its kind."""
    usual = "broker" if record.kind == "broker" else "device"
    try:
        return load_profile(record.profile or usual).days
    except KeyfobHostError:  # a file that is gone, or wants variables
        return load_profile(usual).days


def _renew_one(
    home: Home,
    inventory: Inventory,
    authority: Authority,
    record: Record,
    new_key: bool | None,
    days: int | None,
) -> _Renewed:
    folder = home.root / record.folder
    old = read_issued(folder)
    new = issue_again(
        authority, old, new_key=new_key, days=days, profile_days=_profile_days(record)
    )
    new.write(folder, force=True)
    row = row_of(home, folder, kind=record.kind, profile=record.profile)
    with inventory.writing():
        inventory.add([row])
    broker = ""
    if record.kind == "broker":
        # As `keyfob cert broker`: while the CA's key is open.
        bench.renew_host_identity(home, authority)
        running = MosquittoBroker.attach(home.broker_dir)
        if running is not None and running.identity_dir == folder:
            broker = broker_rereads(home)
    key = "same key" if new_key is False else "new key"
    return _Renewed(
        record,
        new.cert.not_valid_after_utc,
        key if isinstance(new, Identity) else "key elsewhere",
        broker,
    )
