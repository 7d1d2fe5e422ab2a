#!/usr/bin/env python3
"""How fast identities are issued: `keyfob cert devices` beside a shell loop over openssl.

    tools/bench_issue.py [--count 10000] [--write]

Each row is the command as a person runs it, from its start to its end, in a bench of its
own on a real disk: processes started, certificates signed, files synced, inventory
written. Beside it a loop of `openssl ecparam`, `req` and `x509` makes the same P-256
identity, key and certificate (and syncs nothing). Nothing is removed before all is
measured, because ext4 is slow to make files where many were just removed. Prints a
table; with ``--write`` also puts it into ``tools/RESULTS_ISSUE.md``. It judges nothing
and is no test.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench import rig

_RESULTS = rig.ROOT / "tools" / "RESULTS_ISSUE.md"
_INTRODUCTION = """\
# Issuing identities

What the last run of `tools/bench_issue.py` said. An identity is a P-256 key, its
certificate, chain and trust anchor in a folder of its own, on the disk when the command
ends and recorded in the inventory. The rate is that of the whole command, the start of
its processes included. Processor seconds are what all of them used together, which other
work on the machine changes less than it does the rate. ext4 makes files several times
more slowly for minutes after many others were removed; wait that long before a run.

"""
_OPENSSL_SAMPLE = 200
_OPENSSL = """\
set -e
n=1
while [ $n -le "$1" ]; do
  mkdir "s-$n"
  openssl ecparam -name prime256v1 -genkey -noout -out "s-$n/key.pem" 2>/dev/null
  openssl req -new -key "s-$n/key.pem" -subj "/CN=s-$n" -out "s-$n/request.pem"
  openssl x509 -req -in "s-$n/request.pem" -CA ca.pem -CAkey ca.key -days 1825 \\
    -extfile extensions -out "s-$n/cert.pem" 2>/dev/null
  n=$((n+1))
done
"""
_EXTENSIONS = """\
basicConstraints=critical,CA:FALSE
keyUsage=critical,digitalSignature
extendedKeyUsage=clientAuth
subjectKeyIdentifier=hash
authorityKeyIdentifier=keyid
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=10_000, help="identities a row")
    parser.add_argument("--write", action="store_true", help="update tools/RESULTS_ISSUE.md")
    options = parser.parse_args()
    lines = [
        "| how | identities | seconds | a second | processor seconds |",
        "|---|---:|---:|---:|---:|",
    ]
    # /tmp is often no disk.
    with tempfile.TemporaryDirectory(prefix="keyfob-bench-", dir="/var/tmp") as scratch:
        folder = Path(scratch)
        for jobs in _job_counts():
            print(f"{jobs} processes", file=sys.stderr, flush=True)
            took = _keyfob(folder / f"home-{jobs}", options.count, jobs)
            label = f"`keyfob cert devices --jobs {jobs}`"
            lines.append(_row(label, options.count, took))
        print("openssl", file=sys.stderr, flush=True)
        took = _openssl(folder / "openssl")
        label = "`openssl ecparam`, `req`, `x509` in a shell loop"
        lines.append(_row(label, _OPENSSL_SAMPLE, took))
    load = os.getloadavg()[1]
    head = (
        f"`tools/bench_issue.py`, {datetime.date.today().isoformat()}, {rig.processor()}, "
        f"{len(os.sched_getaffinity(0))} processors, load {load:.1f} while it ran.\n\n"
    )
    text = head + "\n".join(lines) + "\n"
    print(text)
    if options.write:
        _RESULTS.write_text(_INTRODUCTION + text)
    return 0


def _job_counts() -> list[int]:
    """1, 2, 4 … up to the processors there are."""
    most = len(os.sched_getaffinity(0))
    return sorted({min(1 << power, most) for power in range(most.bit_length() + 1)})


class _Clock:
    """Time since it was made: on the wall, and of processors by programs that have ended."""

    def __init__(self) -> None:
        self._began_s, self._used_s = time.monotonic(), self._children_s()

    def read(self) -> tuple[float, float]:
        return time.monotonic() - self._began_s, self._children_s() - self._used_s

    @staticmethod
    def _children_s() -> float:
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        return used.ru_utime + used.ru_stime


def _keyfob(home: Path, count: int, jobs: int) -> tuple[float, float]:
    def run(*arguments: str) -> dict[str, object]:
        done = subprocess.run(
            [sys.executable, "-m", "keyfob_host", "--json", *arguments],
            check=True, stdout=subprocess.PIPE, env={**os.environ, "KEYFOB_HOME": str(home)},
        )  # fmt: skip
        return dict(json.loads(done.stdout))

    run("ca", "init", "--no-passphrase")
    clock = _Clock()
    said = run(
        "cert", "devices", "--count", str(count), "--pattern", "s-{:06}", "--jobs", str(jobs)
    )
    took = clock.read()
    if said["made"] != count:
        raise SystemExit(f"{said} instead of {count}")
    return took


def _openssl(folder: Path) -> tuple[float, float]:
    folder.mkdir()
    (folder / "extensions").write_text(_EXTENSIONS)
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
         "-nodes", "-subj", "/CN=bench CA", "-days", "3650", "-keyout", "ca.key",
         "-out", "ca.pem"],
        check=True, cwd=folder, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    clock = _Clock()
    subprocess.run(["sh", "-c", _OPENSSL, "sh", str(_OPENSSL_SAMPLE)], check=True, cwd=folder)
    return clock.read()


def _row(label: str, count: int, took: tuple[float, float]) -> str:
    wall_s, used_s = took
    return f"| {label} | {count:,} | {wall_s:.1f} | {count / wall_s:,.0f} | {used_s:.1f} |"


if __name__ == "__main__":
    sys.exit(main())
