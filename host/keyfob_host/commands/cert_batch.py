"""``keyfob cert devices``: thousands of identities, going on where a run was cut."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from pathlib import Path

import rich_click as click
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from keyfob_host.commands.passphrase import passphrase_options, unlock
from keyfob_host.commands.profile_options import end_entity_options
from keyfob_host.home import Home, find_home
from keyfob_host.pki.batch import Order, make_batch
from keyfob_host.pki.id_lists import MAX_IDS, numbered_ids, read_ids
from keyfob_host.pki.inventory import Inventory
from keyfob_host.pki.inventory_disk import folder_text, open_inventory, row_of
from keyfob_host.pki.inventory_row import Row
from keyfob_host.pki.profiles import load_profile
from keyfob_host.pki.variables import parse_variables
from keyfob_host.ui import Ui

# A transaction waits for the disk, so there is one for many chunks.
_ROWS_A_TRANSACTION = 2500


@click.command()
@click.option("--count", type=click.IntRange(1, MAX_IDS), help="How many, with --pattern.")
@click.option("--pattern", help="The ids, with the number's place: 'sensor-{:05}'.")
@click.option("--start", type=click.IntRange(0), default=1, show_default=True, help="First number.")
@click.option("--from-file", type=click.Path(path_type=Path), help="The ids instead, one a line.")
@click.option(
    "--out", type=click.Path(path_type=Path), help="Folder for them, not the bench's own."
)
@click.option("--jobs", type=click.IntRange(1, 256), help="Processes; by default one a processor.")
@end_entity_options
@passphrase_options
@click.pass_obj
def devices(
    ui: Ui,
    count: int | None,
    pattern: str | None,
    start: int,
    from_file: Path | None,
    out: Path | None,
    jobs: int | None,
    key_type: str | None,
    days: int | None,
    variables: tuple[str, ...],
    profile: str | None,
    passphrase_file: Path | None,
    passphrase_env: str | None,
) -> None:
    """Issue many devices' identities at once.

    Ids whose folder is there are skipped, so that the same command goes on after Ctrl-C,
    a full disk or the loss of power. A folder with an id's name is always complete.
    """
    if (from_file is None) == (count is None) or (from_file is None) != (pattern is not None):
        raise click.UsageError("Give --count and --pattern, or --from-file.")
    home = find_home()
    chosen = load_profile(profile or "device", kind="device", variables=parse_variables(variables))
    if from_file is not None:
        ids = read_ids(from_file)
    else:
        ids = numbered_ids(str(pattern), start, int(count or 0))
    authority = unlock(home.ca_dir, passphrase_file, passphrase_env)
    parent = (out or home.certs_dir / "device").absolute()
    order = Order(
        parent, folder_text(home, parent), chosen, profile or "device", key_type, days
    )  # fmt: skip
    inventory, _ = open_inventory(home)
    with inventory:
        missing, foreign = _missing(home, inventory, order, ids)
        here = len(ids) - len(missing)
        began = time.monotonic()
        made = 0
        try:
            with _progress(ui, len(ids), here) as advance:
                pending: list[Row] = []
                try:
                    for rows in make_batch(authority, order, missing, jobs or _processors()):
                        made += len(rows)
                        advance(len(rows))
                        pending += rows
                        if len(pending) >= _ROWS_A_TRANSACTION:
                            _record(inventory, pending)
                finally:
                    _record(inventory, pending)
        except BaseException:
            ui.step(f"made {made}, {here} were there before; the same command makes the rest")
            raise
    took_s = time.monotonic() - began
    end = authority.cert.not_valid_after_utc
    if made and datetime.now(timezone.utc) + timedelta(days=days or chosen.days) > end:
        ui.step(f"note: the CA ends on {end:%Y-%m-%d}, and so do these certificates")
    if foreign:
        ui.step(
            f"note: {foreign} of those that were there are from a former CA: keyfob cert renew ID"
        )
    rate = f" in {took_s:.1f} s, {made / took_s:.0f} a second" if made else ""
    shown = f"{parent}/{ids[0]} … {ids[-1]}" if len(ids) > 1 else f"{parent}/{ids[0]}"
    identity = ids[0] if out is None else parent / ids[0]
    ui.result(
        f"made     {made} identities{rate}; {here} were there before\n"
        f"files    {shown}\nnext     keyfob provision --identity {identity}",
        {
            "made": made,
            "skipped": here,
            "of_former_ca": foreign,
            "seconds": round(took_s, 3),
            "folder": str(parent),
        },
    )


def _missing(
    home: Home, inventory: Inventory, order: Order, ids: Sequence[str]
) -> tuple[list[str], int]:
    """The ids without a folder, and how many of the others a former CA issued.

    What a killed run made outside the bench's own folder and did not record is recorded.
    """
    there = {one.name for one in order.parent.iterdir()} if order.parent.is_dir() else set()
    known = inventory.stamps()
    unrecorded = [
        one for one in ids if one in there and f"{order.folder_prefix}/{one}" not in known
    ]
    rows = [
        row_of(home, order.parent / one, kind="device", profile=order.profile_name)
        for one in unrecorded
    ]
    _record(inventory, rows)
    trusted = inventory.trusted_keys()
    folders = {f"{order.folder_prefix}/{one}" for one in ids if one in there}
    foreign = sum(
        one.folder in folders and one.state(trusted) == "orphaned"
        for one in inventory.records("device")
    )
    return [one for one in ids if one not in there], foreign


def _record(inventory: Inventory, rows: list[Row]) -> None:
    if rows:
        with inventory.writing():
            inventory.add(rows)
        rows.clear()


@contextmanager
def _progress(ui: Ui, total: int, here: int) -> Iterator[Callable[[int], None]]:
    """A bar on a terminal; nothing elsewhere, nor with ``--json``."""
    columns = (
        TextColumn("issuing"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
    )  # fmt: skip
    shown = ui.err.is_terminal and not ui.as_json
    with Progress(*columns, console=ui.err, disable=not shown, transient=True) as bar:
        task = bar.add_task("", total=total, completed=here)
        yield lambda count: bar.advance(task, count)


def _processors() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
