#!/usr/bin/env python3
"""How long suites take on one virtual board and on many at once, on this machine.

    tools/bench_hil.py [--write] [--boards 8] [--most 50]

Runs `keyfob hil run` as a person does, in a bench of its own, and takes the seconds that the
run itself tells: bringing up boards, brokers and certificates, every case, taking all down.
The boards are flashed by a run before, as they are on a bench that is used. Prints a table;
with ``--write`` also puts it into ``tools/RESULTS_HIL.md``. Only the ratio within one run says
anything. It judges nothing and is no test.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from bench import rig

_RESULTS = rig.ROOT / "tools" / "RESULTS_HIL.md"
# The first mostly waits, for links that fail and come back; the other is what every commit runs.
_WAITING, _SMOKE = "keyfob/recovery", "smoke"
_INTRODUCTION = """\
# Suites on many boards

What the last run of `tools/bench_hil.py` said: seconds from the first process to the last, on
virtual ESP32s that were flashed before, each with a broker, a certificate authority, time
servers and a worker process of its own, everything on one machine of two cores. A suite that
waits more than it computes takes little longer on eight boards than on one.

"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true", help="update tools/RESULTS_HIL.md")
    parser.add_argument("--boards", type=int, default=8, help="how many beside one")
    parser.add_argument("--most", type=int, default=50, help="how many in the smoke suite")
    options = parser.parse_args()
    rows = ["| suite | boards | cases | seconds | of one board's |", "|---|---:|---:|---:|---:|"]
    with tempfile.TemporaryDirectory(prefix="keyfob-bench-") as scratch:
        home = Path(scratch)
        _run(home, _SMOKE, max(options.boards, options.most))
        for suite, most in ((_WAITING, options.boards), (_SMOKE, options.most)):
            one = _run(home, suite, 1)
            many = _run(home, suite, most)
            for boards, told in ((1, one), (most, many)):
                cases = len({result["case"] for result in told["results"]})
                ratio = told["seconds"] / one["seconds"]
                rows.append(
                    f"| {suite} | {boards} | {cases} | {told['seconds']:.0f} | {ratio:.2f} |"
                )
    print("\n".join(rows))
    if options.write:
        _RESULTS.write_text(f"{_INTRODUCTION}{_made_by()}\n\n" + "\n".join(rows) + "\n")
    return 0


def _run(home: Path, suite: str, boards: int) -> dict[str, Any]:
    """What ``keyfob hil run`` tells of itself; a case that fails ends the benchmark."""
    print(f"{suite} on {boards}", file=sys.stderr, flush=True)
    command = [sys.executable, "-m", "keyfob_host", "--json", "hil", "run", suite]
    command += ["--boards", str(boards)]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False,
        env={**os.environ, "KEYFOB_HOME": str(home)},
    )  # fmt: skip
    if done.returncode:
        sys.exit(f"{suite} on {boards} boards failed:\n{done.stderr[-4000:]}")
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def _made_by() -> str:
    versions = [one for one in rig.versions() if one.startswith(("mosquitto", "jonnor"))]
    return f"`tools/bench_hil.py`, {rig.processor()}. {'; '.join(versions)}."


if __name__ == "__main__":
    sys.exit(main())
