"""The tests of TLS 1.3's engine and its fuzz in a small heap: 32-bit MicroPython, with the
code in a ROMFS image, as it can be on a board.

What follows a handshake has the 38 KB of an ESP8266; the handshakes have 10 more for
the test's own code, messages and names. A sample of the fuzz by default; the marker
`slow` runs 20,000 broken inputs.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from mpremote.romfs import VfsRomWriter
from test_on_micropython import micropython32  # noqa: F401 - a fixture, used below
from test_tls_engine_fuzz import pack

from keyfob_host.mpy import bytecode

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
PROGRAM = """import ffi, gc, os, sys, uctypes, vfs
def mount(path):
    libc = ffi.open("libc.so.6")
    handle = libc.func("i", "open", "si")(path, 0)
    size = os.stat(path)[6]
    at = libc.func("i", "mmap", "iIiiiI")(0, size, 1, 1, handle, 0)
    vfs.mount(vfs.VfsRom(uctypes.bytearray_at(at & 0xFFFFFFFF, size)), "/rom")
    sys.path[:] = ["/rom", ".frozen"]
mount({!r})
del mount, ffi, uctypes, vfs
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
    firmware = HERE.parents[1] / "firmware"
    sources = {path.relative_to(firmware): path for path in firmware.glob("keyfob/**/*.py")}
    for name, text in (("device_support.py", SUPPORT), ("rfc8448.py", EXAMPLES)):
        (root / name).write_text(text)
        sources[Path(name)] = root / name
    for name in TESTS:
        sources[Path(f"{name}.py")] = HERE / f"{name}.py"
    for name, source in sources.items():
        target = root / "files" / name.with_suffix(".mpy")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(bytecode(source, str(name)))
    (root / "files" / "vectors").mkdir()
    for line in (HERE.parent / "vectors" / "rfc8448.txt").read_text().splitlines()[1:]:
        example, octets = line.split()
        (root / "files" / "vectors" / example).write_bytes(bytes.fromhex(octets))
    writer = VfsRomWriter()
    pack(writer, root / "files")
    (root / "image.romfs").write_bytes(bytes(writer.finalise()))
    (root / "run.py").write_text(PROGRAM.format(str(root / "image.romfs")))
    return root / "run.py"


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
