"""tools/setup.py: finds what is missing, says how to mend what it cannot."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def test_a_second_set_up_does_nothing_and_says_nothing():
    subprocess.run([sys.executable, "tools/setup.py"], cwd=ROOT, check=True, capture_output=True)
    again = subprocess.run(
        [sys.executable, "tools/setup.py"], cwd=ROOT, check=True, capture_output=True, text=True
    )
    assert (again.stdout, again.stderr) == ("", "")


def test_without_apt_the_command_for_mosquitto_is_told(tmp_path):
    # A search path with nothing on it is a machine without mosquitto and without apt.
    code = "import setup; setup.shutil.which = lambda *_, **__: None; setup.mosquitto()"
    run = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT / "tools",
        env={**os.environ, "PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 4
    assert "mosquitto is missing" in run.stderr
    assert "fix    dnf install mosquitto" in run.stderr


def test_make_alone_prints_help():
    run = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, check=True)
    for target in ("demo", "test", "flash", "provision", "monitor", "hil", "certs"):
        assert f"make {target} " in run.stdout


def test_softhsm_is_tried_once_and_its_absence_stops_nothing(tmp_path):
    # An apt-get that fails, and nothing else on the search path.
    (tmp_path / "apt-get").write_text(f"#!/bin/sh\necho tried >>{tmp_path}/calls\nexit 100\n")
    (tmp_path / "apt-get").chmod(0o755)
    code = (
        "import os, pathlib, setup; os.geteuid = lambda: 0; "
        f"setup.VENV = pathlib.Path({str(tmp_path)!r}); setup.softhsm(); setup.softhsm()"
    )
    run = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT / "tools",
        env={**os.environ, "PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0
    assert run.stderr == "setup  SoftHSM for the PKCS#11 tests: no, they are skipped\n"
    assert (tmp_path / "calls").read_text() == "tried\n"


@pytest.mark.parametrize(("ci", "status"), [("true", 4), ("", 0)])
@pytest.mark.parametrize(
    ("step", "package"), [("chromium", "chromium-driver"), ("ser2net", "ser2net")]
)
def test_browser_and_serial_port_server_are_installed_on_ci_alone(
    tmp_path, step, package, ci, status
):
    code = f"import setup; setup.shutil.which = lambda *_, **__: None; setup.{step}()"
    run = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT / "tools",
        env={**os.environ, "PATH": str(tmp_path), "CI": ci},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == status
    assert (f"fix    dnf install {package}" in run.stderr) == bool(status)
