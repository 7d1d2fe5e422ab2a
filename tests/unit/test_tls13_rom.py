"""The tests of TLS 1.3's engine and its fuzz in a small heap: 32-bit MicroPython, with the
code in a ROMFS image, as it can be on a board.

What follows a handshake has the 38 KB of an ESP8266; the handshakes have 10 more for
the test's own code, messages and names. A sample of the fuzz by default; the marker
`slow` runs 20,000 broken inputs.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import board_files
import pytest
from test_on_micropython import micropython32  # noqa: F401 - a fixture, used below

HERE = Path(__file__).resolve().parent
TESTS = ("test_tls13_fuzz", "test_tls13_late", "test_tls13_phases", "tls13_example")
# In the place of what the tests share, most of which is not for TLS.
SUPPORT = """from keyfob.errors import KeyfobError
IS_MICROPYTHON = True
def refusal(function, *arguments):
    try:
        function(*arguments)
    except KeyfobError as error:
        return error
    raise AssertionError("not refused")
def code_of(function, *arguments):
    return refusal(function, *arguments).code
"""
EXAMPLES = """def octets(name):
    with open("/rom/vectors/" + name, "rb") as file:
        return file.read()
"""
PROGRAM = """import gc
gc.threshold(2048)
module = __import__(sys.argv[1])
if sys.argv[2:]:
    module.COUNT = int(sys.argv[2])
for name in dir(module):
    if name[:5] == "test_":
        getattr(module, name)()
        gc.collect()
        print(name)
"""


@pytest.fixture(scope="module")
def rom(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A program that maps an image with the firmware and the tests."""
    root = tmp_path_factory.mktemp("rom")
    modules = [HERE / f"{name}.py" for name in TESTS]
    for name, text in (("device_support.py", SUPPORT), ("rfc8448.py", EXAMPLES)):
        (root / name).write_text(text)
        modules.append(root / name)
    lines = (HERE.parent / "vectors" / "rfc8448.txt").read_text().splitlines()[1:]
    examples = dict(line.split() for line in lines)
    files = {f"vectors/{name}": bytes.fromhex(octets) for name, octets in examples.items()}
    return board_files.make_rom(root, PROGRAM, modules, files)


def passes(words: list[str]) -> list[str]:
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-500:] + done.stderr[-2000:]
    return done.stdout.split()


@pytest.mark.parametrize(("name", "heap"), [("test_tls13_late", 38), ("test_tls13_phases", 48)])
def test_passes(name: str, heap: int, rom: Path, micropython32: list[str]) -> None:  # noqa: F811
    said = passes([*micropython32, "-X", f"heapsize={heap}k", str(rom), name])
    assert len(said) > 5


@pytest.mark.parametrize(
    "count",
    [
        20,
        pytest.param(5000, marks=[pytest.mark.slow, pytest.mark.timeout(7200)]),
    ],
    ids=["sample", "all"],
)
def test_fuzz(count: int, rom: Path, micropython32: list[str]) -> None:  # noqa: F811
    words = [*micropython32, "-X", "heapsize=48k", str(rom), "test_tls13_fuzz", str(count)]
    assert len(passes(words)) == 4
