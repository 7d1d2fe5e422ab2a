"""The command line as tests run it: in this process, in one of its own, at a terminal."""

from __future__ import annotations

import json
import os
import pty
import select
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from keyfob_host.cli import main

VECTORS = Path(__file__).parent.parent / "vectors"
_COMMAND = [sys.executable, "-m", "keyfob_host"]


class Keyfob:
    """The command line, in this process, in a home of its own."""

    def __init__(self, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.home = home
        self._capsys = capsys

    def run(self, *arguments: str | Path) -> tuple[int, str, str]:
        """(exit status, standard output, standard error)."""
        self._capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main([str(one) for one in arguments])
        out, err = self._capsys.readouterr()
        assert "Traceback" not in err or "--debug" in arguments
        return int(ended.value.code or 0), out, err

    def json(self, *arguments: str | Path) -> dict[str, Any]:
        status, out, err = self.run("--json", *arguments)
        assert status == 0, err
        return dict(json.loads(out))

    def error(self, *arguments: str | Path) -> dict[str, Any]:
        status, out, _ = self.run("--json", *arguments)
        assert status != 0
        found = dict(json.loads(out)["error"])
        assert found["status"] == status and found["fix"]
        return found

    def states(self, name: str) -> list[str]:
        """Of the certificates of that name."""
        rows = self.json("cert", "list")["certificates"]
        return [row["state"] for row in rows if row["name"] == name]


class KeyfobProcesses:
    """The command line, each command a process of its own, in one home."""

    def __init__(self, home: Path) -> None:
        self.home = home

    def start(self, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [*_COMMAND, *arguments],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env={**os.environ, "KEYFOB_HOME": str(self.home), **environment},
        )  # fmt: skip

    def run(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        with self.start(*arguments, **environment) as process:
            try:
                out, err = process.communicate(timeout=30)
            except BaseException:
                process.kill()
                raise
        assert "Traceback" not in err
        return subprocess.CompletedProcess(arguments, process.returncode, out, err)

    def json(self, *arguments: str) -> dict[str, Any]:
        done = self.run("--json", *arguments)
        assert done.returncode == 0, done.stderr
        return dict(json.loads(done.stdout))

    def error(self, *arguments: str, **environment: str) -> dict[str, Any]:
        done = self.run("--json", *arguments, **environment)
        assert done.returncode != 0, done.stdout
        return dict(json.loads(done.stdout)["error"])


def on_a_terminal(home: Path, typed: list[str], *arguments: str) -> tuple[int, str]:
    """Run the command with a terminal; each item is typed when ``:`` asks for it."""
    ours, theirs = pty.openpty()
    child = subprocess.Popen(
        [*_COMMAND, *arguments],
        stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
        env={**os.environ, "KEYFOB_HOME": str(home)},
    )  # fmt: skip
    os.close(theirs)
    seen, answered = "", 0
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if not select.select([ours], [], [], 0.1)[0]:
            continue
        try:
            chunk = os.read(ours, 4096)
        except OSError:  # the last terminal user has left
            break
        if not chunk:
            break
        seen += chunk.decode()
        if seen.rstrip(" ").endswith(":") and answered < len(typed):
            os.write(ours, typed[answered].encode())
            answered += 1
    os.close(ours)
    return child.wait(10), seen


def secret_file(tmp_path: Path, text: str, mode: int = 0o600) -> Path:
    path = tmp_path / "passphrase"
    path.write_text(text)
    path.chmod(mode)
    return path
