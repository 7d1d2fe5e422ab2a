#!/usr/bin/env python3
"""Keep the README's transcripts true: run them again and compare, or write them anew.

A transcript is a fenced block of the language ``console``; each of its lines that
begins with ``$ `` is a command, the lines after it what the command printed (both
streams). All blocks of one file run in order, in one scratch folder with a copy of the
file in it; ``make`` runs in the checkout. Numbers, fingerprints and times differ from run to run,
so they are folded before the comparison: what must agree is every word.

    tools/transcripts.py --check README.md    exit 1 and a diff where it is not true
    tools/transcripts.py --write README.md    put in what the commands print today
"""

import argparse
import difflib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BLOCK = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)
TIMEOUT_S = 300


def run(command: str, folder: str) -> list[str]:
    """The lines ``command`` prints in ``folder``, without colour and trailing blanks."""
    environment = {
        **os.environ,
        "KEYFOB_HOME": f"{folder}/.keyfob",
        "PATH": f"{ROOT / '.venv' / 'bin'}:{os.environ['PATH']}",
        "NO_COLOR": "1",
        "COLUMNS": "100",
        "TERM": "dumb",
        "MAKEFLAGS": "--no-print-directory",
    }
    environment.pop("CI", None)
    done = subprocess.run(  # noqa: S602 (the README's own commands, as a person types them)
        command,
        shell=True,
        cwd=ROOT if command.startswith("make") else folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        timeout=TIMEOUT_S,
        text=True,
    )
    text = done.stdout.replace(folder + "/", "").replace(str(ROOT) + "/", "")
    return [line.rstrip() for line in text.rstrip("\n").split("\n")]


def commands_of(block: str) -> list[str]:
    return [line[2:] for line in block.split("\n") if line.startswith("$ ")]


def fold(line: str) -> str:
    """The line with all that may differ between two true runs folded away."""
    line = re.sub(r"\b(?:[0-9A-Fa-f]{2}:){3,}[0-9A-Fa-f]{2}\b", "H", line)
    line = re.sub(r"\b(?=[0-9a-fA-F]*\d)[0-9a-fA-F]{8,}\b", "H", line)
    line = re.sub(r"((?<=\s)[+-])?\d+([.,:]\d+)*", "N", line)
    line = re.sub(r"-{3,}|={3,}|\.{3,}|#{3,}", "-", line)
    return re.sub(r"\s+", " ", line).strip()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    mode = parser.add_mutually_exclusive_group(required=True)
    mode.add_argument("--check", action="store_true")
    mode.add_argument("--write", action="store_true")
    parser.add_argument("file", type=Path, default=ROOT / "README.md", nargs="?")
    options = parser.parse_args()
    # So that no transcript begins with what only the first command of a checkout prints.
    subprocess.run([sys.executable, "tools/setup.py"], cwd=ROOT, check=True)
    old = options.file.read_text()
    with tempfile.TemporaryDirectory(prefix="keyfob-readme-") as folder:
        shutil.copy(options.file, folder)
        new = BLOCK.sub(lambda match: _again(match.group(1), folder), old)
    if options.write:
        options.file.write_text(new)
        return 0
    before, after = ([fold(line) for line in text.split("\n")] for text in (old, new))
    if before == after:
        return 0
    sys.stdout.writelines(
        f"{line}\n"
        for line in difflib.unified_diff(
            before, after, "README says", "commands print", lineterm=""
        )
    )
    return 1


def _again(block: str, folder: str) -> str:
    lines = []
    for command in commands_of(block):
        lines += [f"$ {command}", *run(command, folder)]
    return "```console\n" + "\n".join(lines) + "\n```"


if __name__ == "__main__":
    sys.exit(main())
