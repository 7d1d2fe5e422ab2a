"""``keyfob bench scan``: what hangs on this machine, written to ``bench.toml``."""

from __future__ import annotations

import difflib
import sys
from pathlib import Path

import rich_click as click
from filelock import FileLock

from keyfob_host.bench.chip_macs import ask_chips
from keyfob_host.bench.file import bench_path, load_bench
from keyfob_host.bench.finding_ports import usb_ports
from keyfob_host.bench.scanning import Scan, Seen, plan, write_bench
from keyfob_host.boards import kind_names, load_kind
from keyfob_host.errors import ExitStatus, KeyfobHostError
from keyfob_host.home import find_home
from keyfob_host.ui import Ui


@click.command()
@click.option("--probe", is_flag=True, help="Ask each chip what it is, which restarts its board.")
@click.option("--kind", metavar="KIND", help="What new boards are, instead of asking them.")
@click.option("--dry-run", is_flag=True, help="Show what would be written, write nothing.")
@click.option(
    "--bench", "file", type=click.Path(path_type=Path), help="Another file than the bench's own."
)
@click.pass_obj
def scan(ui: Ui, probe: bool, kind: str | None, dry_run: bool, file: Path | None) -> None:
    """Find boards on USB and running virtual boards, and add those that bench.toml lacks.

    A board is written by its adapter's USB serial number; where that is missing, or shared
    with others, by the place it is plugged in or, with --probe, by its chip's MAC. What
    stands in the file stays. Boards that are in use are not asked.
    """
    if kind is not None and load_kind(kind).virtual:
        real = [name for name in kind_names() if not load_kind(name).virtual]
        raise KeyfobHostError(
            "bench.kind-virtual", f"{kind} is a virtual kind; what hangs on USB is none",
            evidence=f"real kinds: {', '.join(real)}", fix=f"keyfob bench scan --kind {real[0]}",
            status=ExitStatus.USAGE,
        )  # fmt: skip
    home = find_home()
    path = file or bench_path(home)
    if not dry_run:
        home.ensure()
    with FileLock(home.ensure_runtime() / "bench-file.lock", mode=0o600):
        entries = load_bench(path).boards if path.exists() else ()
        found = Scan(entries, home, usb_ports(), kind or "")
        to_ask = found.to_ask()
        if to_ask and (probe or (kind is None and _may_ask(ui, to_ask))):
            found.asked.update((one.device, one) for one in ask_chips(to_ask, home, ui.step))
        seen = found.seen()
        before, after = plan(path, seen)
        if after != before and not dry_run:
            write_bench(path, after)
    _tell(ui, path, seen, _added_lines(before, after), dry_run)


def _may_ask(ui: Ui, devices: list[str]) -> bool:
    """A person at a terminal is asked; nobody else's boards are restarted."""
    if ui.as_json or not sys.stdin.isatty():
        return False
    boards = "board" if len(devices) == 1 else f"{len(devices)} boards"
    question = f"Ask the chips what they are? It restarts the {boards} on {', '.join(devices)}."
    return click.confirm(question, err=True)


def _tell(ui: Ui, path: Path, seen: list[Seen], added: list[str], dry_run: bool) -> None:
    lines = [line for one in seen for line in _lines(one)]
    new = ", ".join(one.name for one in seen if one.table)
    completed = ", ".join(one.name for one in seen if one.kind_found)
    if added and dry_run:
        lines += ["", f"would be added to {path}:", "", *added]
    elif added:
        done = [f"added {new}"] * bool(new) + [f"kind of {completed}"] * bool(completed)
        lines += [f"{path}: {'; '.join(done)}"]
    elif seen:
        lines += [f"{path}: nothing to add"]
    else:
        lines += ["no board: nothing on USB here, no virtual board up; see dmesg | tail, or: "
                  "keyfob board up virtual-esp32"]  # fmt: skip
    if any(not one.kind for one in seen if one.state in ("new", "known")):
        lines += ["kinds are missing: keyfob bench scan --probe  # or write them into the file"]
    data = {"bench": str(path), "changed": bool(added) and not dry_run}
    ui.result("\n".join(lines), {**data, "seen": [vars(one) for one in seen]})


def _lines(one: Seen) -> list[str]:
    head = f"{one.state:<9} {one.name or '-':<20} {one.kind or '?':<16} {one.port or '-':<14}"
    return [f"{head} {one.found_by}", *(f"{'':10}{note}" for note in one.notes)]


def _added_lines(before: str, after: str) -> list[str]:
    """The lines of ``after`` that ``before`` lacks, in their order."""
    compared = difflib.ndiff(before.splitlines(), after.splitlines())
    return [line[2:] for line in compared if line.startswith("+ ")]
