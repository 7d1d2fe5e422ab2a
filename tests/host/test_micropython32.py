"""The 32-bit MicroPython that plays an ESP8266: where it comes from, and where it cannot."""

from __future__ import annotations

import platform
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from keyfob_host.boards import load_kind
from keyfob_host.virtual import micropython, micropython32

KIND = load_kind("virtual-esp8266")
TOOL = Path(__file__).parents[2] / "tools" / "micropython32.py"


@pytest.fixture
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("KEYFOB_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("KEYFOB_MICROPYTHON", raising=False)
    return tmp_path / "cache"


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("machine", "aarch64", "an i386 program needs x86-64 Linux"),
        ("which", None, "apt-get and dpkg-deb are not here"),
        ("mirror", None, "this machine's apt sources name no Debian archive"),
    ],
)
def test_what_stands_in_the_way_is_named(
    empty_cache: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str | None, why: str
) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(shutil, "which", lambda program: f"/usr/bin/{program}")
    if name == "machine":
        monkeypatch.setattr(platform, "machine", lambda: value)
    elif name == "which":
        monkeypatch.setattr(shutil, "which", lambda program: value)
    else:
        monkeypatch.setattr(Path, "read_text", lambda self: "deb http://example.test/ubuntu x\n")
    with pytest.raises(micropython32.Unavailable, match=why):
        micropython32.fetch()
    assert not (empty_cache / "i386-trixie").exists()


def test_a_failing_apt_is_quoted_and_leaves_nothing(
    empty_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(words: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess(words, 100, "", "E: no route to the archive\n")

    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(shutil, "which", lambda program: f"/usr/bin/{program}")
    monkeypatch.setattr(micropython32, "mirror", lambda: "http://archive.example/debian")
    monkeypatch.setattr(micropython32.subprocess, "run", fails)
    told: list[str] = []
    micropython.prepare(KIND, told.append)
    assert told[0].startswith("fetching a 32-bit MicroPython (Debian trixie, i386)")
    assert "since there is no 32-bit one: apt-get failed: E: no route" in told[1]
    assert [path.name for path in empty_cache.iterdir()] == ["i386-trixie.lock"]


def test_without_it_the_64_bit_one_plays_the_chip(empty_cache: Path, tmp_path: Path) -> None:
    found = micropython.find_interpreter(KIND, tmp_path)
    assert found.title == "64-bit, with twice the chip's heap and no ROMFS"
    assert found.heap_bytes > 2 * KIND.heap_bytes


def test_a_named_micropython_is_taken_for_every_kind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KEYFOB_MICROPYTHON", "/bin/true")
    for kind in (KIND, load_kind("virtual-esp32")):
        found = micropython.find_interpreter(kind, tmp_path)
        assert found.command(7)[0] == str(Path("/bin/true").resolve())
        assert "7" in found.command(7)


def test_the_tool_prints_a_command_that_runs() -> None:
    made = subprocess.run([sys.executable, TOOL], capture_output=True, text=True, check=False)
    if made.returncode == 3:
        pytest.skip(made.stderr.strip())
    assert made.returncode == 0, made.stderr
    program = "import sys; print(sys.maxsize)"
    run = subprocess.run(
        [*made.stdout.split(), "-X", "heapsize=38k", "-c", program],
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout == f"{2**31 - 1}\n"
