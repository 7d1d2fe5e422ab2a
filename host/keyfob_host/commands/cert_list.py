"""``keyfob cert list`` and ``keyfob cert expiring``: what there is, and for how long."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import rich_click as click
from rich import box
from rich.table import Table
from rich.text import Text

from keyfob_host.durations import parse_duration
from keyfob_host.errors import ExitStatus
from keyfob_host.home import find_home
from keyfob_host.pki.authority import load_ca_cert
from keyfob_host.pki.expiry import Ending, endings
from keyfob_host.pki.inventory import STATES, Record
from keyfob_host.pki.inventory_disk import open_inventory
from keyfob_host.pki.inventory_row import KINDS
from keyfob_host.printable import printable
from keyfob_host.ui import Ui

_NAMES_SHOWN = 32
_DIGITS_SHOWN = 12  # of a serial number, enough to name it to `keyfob cert revoke`


@click.command("list")
@click.option("--kind", type=click.Choice(KINDS), help="Only of this kind.")
@click.option("--state", type=click.Choice(STATES), help="Only in this state.")
@click.pass_obj
def list_(ui: Ui, kind: str | None, state: str | None) -> None:
    """List every certificate of this bench, replaced and revoked ones too.

    \b
    valid, expired, not-yet-valid   by this machine's clock
    replaced                        another took its place, or it is on its way to a board
    revoked                         on the CRL, with time and reason
    orphaned                        its issuer is no longer this bench's CA
    """
    home = find_home()
    load_ca_cert(home.ca_dir)  # a bench without a CA has nothing to list
    inventory, troubles = open_inventory(home)
    with inventory:
        trusted = inventory.trusted_keys()
        found = [(one, one.state(trusted)) for one in inventory.records(kind)]
    shown = [(one, what) for one, what in found if state in (None, what)]
    for trouble in troubles:
        ui.step(f"not read: {trouble}")
    if ui.as_json:
        ui.result("", {"certificates": [_fields(*one) for one in shown], "not_read": troubles})
    elif shown:
        ui.table(_table(shown))
    else:
        ui.result("no such certificate", {})


@click.command()
@click.option("--within", default="30d", show_default=True, metavar="SPAN", help="As 12h, 30d, 4w.")
@click.pass_context
def expiring(ctx: click.Context, within: str) -> int:
    """Show what ends soon: certificates in use, the CA, and a CRL in its last quarter.

    For cron: the exit status is 0 when nothing ends within the span, and 9 when something
    does or has ended already.
    """
    ui: Ui = ctx.obj
    home = find_home()
    span = parse_duration(within)
    load_ca_cert(home.ca_dir)
    inventory, troubles = open_inventory(home)
    with inventory:
        found = endings(home, inventory, datetime.now(timezone.utc) + span)
    for trouble in troubles:
        ui.step(f"not read: {trouble}")
    text = "\n".join(_line(one) for one in found) or f"nothing ends within {within}"
    ui.result(
        text,
        {"within_s": int(span.total_seconds()), "expiring": [one.as_dict() for one in found]},
    )
    return ExitStatus.EXPIRING if found else 0


def _fields(record: Record, state: str) -> dict[str, Any]:
    return {
        "kind": record.kind,
        "name": record.name,
        "state": state,
        "subject": record.subject,
        "serial": record.serial,
        "sha256": record.fingerprint,
        "issuer_sha256": record.issuer_fingerprint,
        "not_before": _iso(record.not_before_s),
        "not_after": _iso(record.not_after_s),
        "profile": record.profile,
        "board": record.board,
        "folder": record.folder,
        "revoked": None if record.revoked_s is None else _iso(record.revoked_s),
        "reason": record.reason,
    }


def _table(shown: list[tuple[Record, str]]) -> Table:
    """What is the same for all, no board and no revocation, takes no column."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    with_board = any(record.board for record, _ in shown)
    with_reason = any(record.reason for record, _ in shown)
    headings = ["kind", "name", "state", "until", "serial"]
    headings += ["board"] * with_board + ["revoked"] * with_reason
    for heading in headings:
        # In a narrow terminal these two are wrapped, and nothing else.
        table.add_column(heading, no_wrap=heading not in ("name", "revoked"))
    for record, state in shown:
        name = record.name
        if len(name) > _NAMES_SHOWN:
            name = name[: _NAMES_SHOWN - 1] + "…"
        cells = [record.kind, name, state, _iso(record.not_after_s)[:10]]
        cells.append(record.serial[:_DIGITS_SHOWN])
        cells += [record.board] * with_board
        if with_reason:
            when = record.revoked_s
            cells.append("" if when is None else f"{_iso(when)[:10]} {record.reason}")
        # A name may have what would be markup ("[CA]"), or control characters.
        table.add_row(*(Text(printable(cell)) for cell in cells))
    return table


def _line(one: Ending) -> str:
    left = one.not_after - datetime.now(timezone.utc)
    hours = abs(left) // timedelta(hours=1)
    span = f"{hours // 24} days" if hours >= 48 else f"{hours} hours"
    when = f"ended {span} ago" if left < timedelta(0) else f"ends in {span}"
    moment = f"{one.not_after:%Y-%m-%d %H:%M}Z"
    return f"{one.kind:<12} {printable(one.name)}: {when} ({moment})\n  {one.fix}"


def _iso(moment_s: int) -> str:
    return datetime.fromtimestamp(moment_s, timezone.utc).isoformat()
