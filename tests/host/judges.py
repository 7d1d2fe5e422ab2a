"""Programs that are not ours and judge what we made, and what a refusal of ours must have."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from keyfob_host.errors import KeyfobHostError

needs_openssl = pytest.mark.skipif(
    shutil.which("openssl") is None, reason="the openssl program is not installed"
)
needs_mosquitto = [
    pytest.mark.mosquitto,
    pytest.mark.skipif(
        shutil.which("mosquitto", path=os.environ["PATH"] + ":/usr/sbin") is None,
        reason="mosquitto is not installed",
    ),
]


def openssl(*arguments: object, stdin: bytes | None = None, check: bool = True) -> str:
    """What it says; that all is well, unless without ``check``."""
    done = subprocess.run(["openssl", *map(str, arguments)], capture_output=True, input=stdin)
    said = (done.stdout + done.stderr).decode()
    assert done.returncode == 0 or not check, said
    return said


def strict_verdict(ca: Path, cert: Path, *options: str | Path) -> str:
    """openssl's strict verdict: "" for good, else its words."""
    done = subprocess.run(
        ["openssl", "verify", "-x509_strict", "-no-CApath", "-no-CAstore", "-CAfile", ca,
         *options, cert],
        capture_output=True, text=True,
    )  # fmt: skip
    return "" if done.returncode == 0 else done.stdout + done.stderr


def code_of(action: Callable[[], object]) -> str:
    """The code with which it is refused; a fix is told too."""
    with pytest.raises(KeyfobHostError) as refused:
        action()
    assert refused.value.fix
    return refused.value.code


def refuses(code: str) -> pytest.RaisesExc[KeyfobHostError]:
    """Of what is below it, that it is refused so."""
    return pytest.raises(KeyfobHostError, check=lambda error: error.code == code)
