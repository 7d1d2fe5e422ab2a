"""The first moment of a command, before it is known which."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

# Ctrl-C while the command line's own modules are imported.
CTRL_C = """
import builtins
_import = builtins.__import__
def interrupted(name, *rest, **more):
    if name == "keyfob_host.cli":
        raise KeyboardInterrupt
    return _import(name, *rest, **more)
builtins.__import__ = interrupted
"""


def test_ctrl_c_while_a_command_starts_shows_no_traceback(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(CTRL_C)
    done = subprocess.run(
        [sys.executable, "-m", "keyfob_host", "--version"],
        env={"PYTHONPATH": str(tmp_path)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "\ninterrupted\n")


def test_the_command_and_the_module_are_the_same() -> None:
    command = Path(sys.executable).with_name("keyfob")
    said = [
        subprocess.check_output(words, text=True)
        for words in ([command, "--version"], [sys.executable, "-m", "keyfob_host", "--version"])
    ]
    assert said[0] == said[1] and "version" in said[0]
