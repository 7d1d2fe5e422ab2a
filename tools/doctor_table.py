"""Seed the faults of the catalogue on virtual benches, and show what the doctor says of each.

    .venv/bin/python tools/doctor_table.py [--write README.md] [NAME…]

Each fault on a virtual ESP32 and on a virtual ESP8266, then the benches that are well. The
faults, and the rows of the catalogue that a kind cannot fail by, are in
`tests/bench/doctor_faults.py`. Seconds are the diagnosis alone, on the slower of the two.
``--write`` puts the table between its two marks in that file, if no verdict was wrong. Exit
status 1 if one was.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "tests" / "bench"), str(ROOT / "host")]

from doctor_bench import BOTH, ESP32, Fault, FaultBench, running  # noqa: E402
from doctor_faults import FAULTS, NOT_REACHED, faults_of  # noqa: E402
from doctor_well import well_of  # noqa: E402

from keyfob_host.errors import KeyfobHostError  # noqa: E402
from keyfob_host.files import write_atomic  # noqa: E402
from keyfob_host.virtual import micropython32  # noqa: E402

_BEGIN, _END = "<!-- tools/doctor_table.py -->", "<!-- end of the doctor's table -->"


@dataclass(frozen=True)
class Cell:
    """What was said of one fault on one kind of board."""

    code: str
    confidence: str
    took_s: float
    is_right: bool


def main(words: list[str]) -> int:
    """Run them all, or those named."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--write", type=Path, metavar="FILE")
    parser.add_argument("names", nargs="*", metavar="NAME")
    options = parser.parse_args(words)
    if options.write and options.names:
        parser.error("--write takes no names: a table is written whole")
    unknown = set(options.names) - {fault.name for fault in FAULTS}
    if unknown:
        names = ", ".join(fault.name for fault in FAULTS)
        parser.error(f"no fault is called {', '.join(sorted(unknown))}; there are: {names}")
    kinds = _kinds()
    cells: dict[tuple[str, str], Cell] = {}
    wells: list[str] = []
    wrong = 0
    for kind in kinds:
        with (
            tempfile.TemporaryDirectory(prefix="keyfob-doctor-") as folder,
            running(Path(folder), kind) as bench,
        ):
            for fault in faults_of(kind):
                if not options.names or fault.name in options.names:
                    cells[fault.name, kind] = _diagnosed(bench, fault)
            for well in () if options.names else well_of(kind):
                bench.restore()
                well.make(bench)
                ladder = bench.diagnose()
                wells += [kind] if ladder.is_well else []
                wrong += not ladder.is_well
                said = "ok" if ladder.is_well else ladder.as_text()
                print(f"     {kind:<17}{'well: ' + well.name:<60}{said}", flush=True)
    wrong += sum(not cell.is_right for cell in cells.values())
    seeded = {name for name, _ in cells}
    rows = {fault.row for fault in FAULTS if fault.row and fault.name in seeded}
    counted = ", ".join(f"{wells.count(kind)} benches that are well ({kind})" for kind in BOTH)
    print(f"{len(rows)} of 39 rows, {len(cells)} diagnoses, {counted}, {wrong} wrong")
    if options.write and kinds == BOTH and not wrong:
        _write(options.write, cells, [wells.count(kind) for kind in BOTH])
    return 1 if wrong else 0


def _kinds() -> tuple[str, ...]:
    """Those that can be played here."""
    try:
        micropython32.fetch()
    except micropython32.Unavailable as why:
        print(f"without a virtual ESP8266, as there is no 32-bit MicroPython: {why}")
        return (ESP32,)
    return BOTH


def _diagnosed(bench: FaultBench, fault: Fault) -> Cell:
    try:
        bench.restore()
        fault.make(bench)
    except (AssertionError, KeyfobHostError) as error:
        print(
            f"{fault.row or '':>3}  {bench.kind:<17}{fault.name:<24}NOT SEEDED: {error}", flush=True
        )
        return Cell("not seeded", "", 0.0, False)
    began = time.monotonic()
    ladder = bench.diagnose()
    took_s = time.monotonic() - began
    found = ladder.diagnosis
    code = found.code if found else "all rungs hold" if ladder.is_well else "nothing found"
    cell = Cell(code, found.confidence if found else "", took_s, code in fault.codes)
    mark = "ok" if cell.is_right else f"WRONG, wanted {', '.join(fault.codes)}"
    print(
        f"{fault.row or '':>3}  {bench.kind:<17}{fault.name:<24}{code:<34}{cell.confidence:<9}"
        f"{took_s:5.1f} s  {mark}",
        flush=True,
    )
    return cell


def _write(path: Path, cells: dict[tuple[str, str], Cell], wells: list[int]) -> None:
    """The table, between its marks in ``path``."""
    lines = ["| row | fault | virtual ESP32 | virtual ESP8266 | s |", "|---|---|---|---|---|"]
    for fault in FAULTS:
        shown = [cells.get((fault.name, kind)) for kind in BOTH]
        took_s = max(cell.took_s for cell in shown if cell)
        columns = (str(fault.row or ""), fault.name.replace("-", " "), *map(_cell, shown))
        lines.append(f"| {' | '.join(columns)} | {took_s:.1f} |")
    lines += ["", f"`~`: likely, the others are certain. {len(cells)} diagnoses; and none on "]
    lines[-1] += f"{wells[0]} and {wells[1]} benches that are well, each in another way."
    for (row, kind), why in NOT_REACHED.items():
        lines.append(f"Row {row} on {kind.replace('-', ' ')}: {why}.")
    text = path.read_text("utf-8")
    before, begin, rest = text.partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not begin or not end:
        raise SystemExit(f"{path} has no lines {_BEGIN} and {_END}")
    write_atomic(path, before + begin + "\n\n" + "\n".join(lines) + "\n\n" + end + after)


def _cell(cell: Cell | None) -> str:
    if cell is None:
        return "-"
    return f"`{cell.code}`{' ~' if cell.confidence != 'certain' else ''}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
