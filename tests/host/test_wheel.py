"""What `pip install keyfob` gives: a tool that works without a checkout."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BROKER = "broker.keyfob.test:1"
NTP = "ntp.keyfob.test:1"


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> Path:
    """A folder with the built wheel's content, as pip lays it out."""
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", folder, ROOT],
        check=True,
        capture_output=True,
        timeout=110,
    )
    (wheel,) = folder.glob("keyfob-*.whl")
    zipfile.ZipFile(wheel).extractall(folder / "site")
    return folder / "site"


def keyfob(installed: Path, cwd: Path, *words: str) -> subprocess.CompletedProcess[str]:
    # PYTHONPATH stands before the editable install of this checkout, so what runs is
    # the wheel's own code; `test_the_code_that_runs_is_the_wheels` makes sure of it.
    environment = {
        **os.environ,
        "PYTHONPATH": str(installed),
        "KEYFOB_HOME": str(cwd / "bench"),
    }
    return subprocess.run(
        [sys.executable, "-m", "keyfob_host", *words],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_code_that_runs_is_the_wheels(installed, tmp_path):
    where = subprocess.run(
        [sys.executable, "-c", "import keyfob_host as k; print(k.__file__)"],
        env={**os.environ, "PYTHONPATH": str(installed)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert where.startswith(str(installed))


def test_every_file_a_board_gets_is_in_the_wheel(installed):
    data = installed / "keyfob_host" / "data"
    for name, folder in (("firmware", "firmware"), ("boards", "boards"), ("certs", "certs")):
        tracked = subprocess.run(
            ["git", "ls-files", folder], cwd=ROOT, capture_output=True, text=True, check=True
        ).stdout.split()
        assert tracked
        missing = [
            path for path in tracked if not (data / name / path[len(folder) + 1 :]).is_file()
        ]
        assert missing == []
    for name in ("chip", "chip/esp8266"):
        here = {path.name for path in (ROOT / "host/keyfob_host/virtual" / name).glob("*.py")}
        there = {path.name for path in (installed / "keyfob_host/virtual" / name).glob("*.py")}
        assert here == there


def test_an_installed_keyfob_flashes_syncs_and_provisions_a_virtual_board(installed, tmp_path):
    steps = (
        ("ca", "init", "--no-passphrase"),
        ("cert", "device", "sensor-01"),
        ("board", "up", "virtual-esp32"),
        ("flash",),
        ("sync",),
        # Nothing answers there: the board's error says that Keyfob's firmware runs.
        ("provision", "--identity", "sensor-01", "--broker", BROKER, "--ntp", NTP),
        ("monitor", "--until", "error", "--for", "20", "--events-only"),
    )
    try:
        for words in steps:
            done = keyfob(installed, tmp_path, *words)
            assert done.returncode == 0, (words, done.stdout, done.stderr)
        listed = keyfob(installed, tmp_path, "hil", "run", "--list")
        assert "boots from erased flash to a first reading" in listed.stdout
    finally:
        keyfob(installed, tmp_path, "board", "down", "--all")


def test_the_wheel_carries_the_doctors_catalogue(installed, tmp_path):
    told = keyfob(installed, tmp_path, "doctor", "--explain", "-30592")
    assert told.returncode == 0, told.stderr
    assert "client-certificate.not-sent" in told.stdout
