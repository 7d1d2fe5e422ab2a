"""Seed the faults of the catalogue on a virtual bench, and print what the doctor says of each.

    .venv/bin/python tools/doctor_table.py [NAME…]

The faults, and the rows of the catalogue that none of them reaches, are in
`tests/bench/doctor_faults.py`. Exit status 1 if a verdict is not the one wanted.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "tests" / "bench"), str(ROOT / "host")]

from doctor_faults import FAULTS, NOT_REACHED, WELL, Fault, FaultBench, running  # noqa: E402


def main(names: list[str]) -> int:
    """Run them all, or those named."""
    wrong = 0
    wanted = [fault for fault in FAULTS if not names or fault.name in names]
    with tempfile.TemporaryDirectory(prefix="keyfob-doctor-") as folder, running(Path(folder)) as b:
        for fault in wanted:
            line, is_right = _row(b, fault)
            print(line, flush=True)
            wrong += not is_right
        for name, make in WELL.items() if not names else ():
            b.restore()
            make(b)
            ladder = b.diagnose()
            wrong += not ladder.is_well
            print(f"     {'well: ' + name:<40}{'ok' if ladder.is_well else ladder.as_text()}")
    if not names:
        for row, why in sorted(NOT_REACHED.items()):
            print(f"{row:>3}  {'-':<24}{why}")
        print(
            " 39  -                       seeded on an ESP8266 by tests/bench/test_doctor_board.py"
        )
        reached = {fault.row for fault in FAULTS if fault.row}
        print(f"{len(reached)} of 39 rows, {len(wanted)} faults, {wrong} wrong")
    return 1 if wrong else 0


def _row(bench: FaultBench, fault: Fault) -> tuple[str, bool]:
    bench.restore()
    fault.make(bench)
    began = time.monotonic()
    ladder = bench.diagnose()
    took_s = time.monotonic() - began
    found = ladder.diagnosis
    code = found.code if found else "all rungs hold" if ladder.is_well else "nothing found"
    is_right = code in fault.codes
    sure = found.confidence if found else ""
    mark = "ok" if is_right else f"WRONG, wanted {', '.join(fault.codes)}"
    row = str(fault.row or "")
    return f"{row:>3}  {fault.name:<24}{code:<36}{sure:<10}{took_s:5.1f} s  {mark}", is_right


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
