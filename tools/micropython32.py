#!/usr/bin/env python3
"""Print the command that runs a 32-bit MicroPython, which is fetched first if need be.

    $(tools/micropython32.py) -X heapsize=38k program.py

What it is and where it comes from: host/keyfob_host/virtual/micropython32.py. Exit
status 3 and the reason where it cannot be had.
"""

import importlib.util
import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def command() -> list[str]:
    """The words that start it. Raises `keyfob_host.virtual.micropython32.Unavailable`."""
    from keyfob_host.virtual import micropython32

    micropython32.fetch()
    return micropython32.command()


def main() -> int:
    try:
        print(" ".join(command()))
    except Exception as why:
        if type(why).__name__ != "Unavailable":
            raise
        print(f"no 32-bit MicroPython: {why}", file=sys.stderr)
        return 3
    return 0


if __name__ == "__main__":
    if importlib.util.find_spec("filelock") is None:  # a Python that has not what the host needs
        python = str(ROOT / ".venv/bin/python")
        os.execv(python, [python, *sys.argv])  # noqa: S606
    sys.path.insert(0, str(ROOT / "host"))
    sys.exit(main())
