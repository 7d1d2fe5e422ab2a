"""A command that ends with whoever started it, however that one ends.

    python tied.py [--bench PATTERN] COMMAND …

Its standard input is a pipe on which nothing comes: that it is closed says that the other end
is gone, or wants the end. The command and what it started in its session are killed then, and
so is what is left of them when the command ended by itself. Of each bench (a ``KEYFOB_HOME``)
that the pattern finds after that, boards, time server and broker are ended, which are in
sessions of their own. Exit status: the command's, as a shell tells it.
"""

from __future__ import annotations

import argparse
import contextlib
import glob
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

KEYFOB = [sys.executable, "-m", "keyfob_host"]
DOWN = (("board", "down", "--all"), ("ntp", "down"), ("broker", "down"))


@contextmanager
def tied(command: list[str], **how: object) -> Iterator[subprocess.Popen[str]]:
    """``command`` runs within; behind, or when this process was killed, it is ended."""
    process: subprocess.Popen[str] = subprocess.Popen(
        [sys.executable, __file__, *command],
        stdin=subprocess.PIPE, start_new_session=True, text=True, **how,
    )  # fmt: skip
    try:
        yield process
    finally:
        assert process.stdin
        process.stdin.close()
        process.wait()


def end_group(leader: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(leader, signal.SIGKILL)


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--bench", metavar="PATTERN", default="")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    given = parser.parse_args()
    child = subprocess.Popen(given.command, stdin=subprocess.DEVNULL, start_new_session=True)

    def watch() -> None:
        os.read(0, 1)
        end_group(child.pid)

    threading.Thread(target=watch, daemon=True).start()
    status = child.wait()
    end_group(child.pid)
    for home in glob.glob(given.bench):  # noqa: PTH207 (the pattern is absolute)
        for words in DOWN:
            environment = {**os.environ, "KEYFOB_HOME": home}
            subprocess.run([*KEYFOB, *words], env=environment, capture_output=True, check=False)
    return 128 - status if status < 0 else status


if __name__ == "__main__":
    sys.exit(main())
