"""The demonstration: what it proves, that it can be killed anywhere, what it says when broken.

On both virtual boards; the ESP8266 is played by a 32-bit MicroPython where there is one.
"""

import json
import os
import signal
import subprocess
import sys
import time
from hashlib import sha256
from pathlib import Path

import pytest

from keyfob_host.demo_breakages import BREAKAGES
from keyfob_host.virtual import micropython32

STEPS = 10
# What the doctor says of each mistake.
CAUSES = {
    "wrong-name": ("x509.name-not-in-san",),
    "wrong-ca": ("x509.wrong-anchor",),
    "expired": ("x509.broker-expired",),
    "no-time": ("clock.no-ntp-answer", "clock.never-set"),
    "no-wifi": ("wifi.weak-signal", "wifi.no-ap", "wifi.no-address"),
}
# Each breakage is seen every day on one of the boards, and on both by `make test-all`.
ON_ESP32 = {"wrong-name", "no-wifi", "no-time"}
IN_README = {"wrong-ca"}  # which test_readme runs every day
ESP8266 = "virtual-esp8266"
COMMAND = [sys.executable, "-m", "keyfob_host"]


def breakages(every_day: set[str]) -> list:
    return [
        pytest.param(name, marks=() if name in every_day else pytest.mark.slow)
        for name in BREAKAGES
    ]


@pytest.fixture
def home(tmp_path, monkeypatch):
    folder = tmp_path / "bench"
    monkeypatch.setenv("KEYFOB_HOME", str(folder))
    yield folder
    # A board whose starter was interrupted notices that its input closed, and ends.
    deadline = time.monotonic() + 5
    while (left := processes_of(folder)) and time.monotonic() < deadline:
        time.sleep(0.05)
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    assert not left, f"the demonstration left processes behind: {left}"


@pytest.fixture
def has_32_bit():
    try:
        micropython32.fetch()
    except micropython32.Unavailable as why:
        pytest.skip(f"no 32-bit MicroPython: {why}")


def processes_of(folder: Path) -> dict[int, str]:
    """Living processes whose command line names the bench."""
    found = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            words = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue
        if str(folder) in words:
            found[int(entry.name)] = words
    return found


def demo(*options: str, as_json: bool = False) -> subprocess.CompletedProcess[str]:
    command = [*COMMAND, *(["--json"] if as_json else []), "demo", *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=90, check=False)


def start_until(step: int) -> subprocess.Popen[str]:
    """A demonstration that has just finished ``step``."""
    process = subprocess.Popen([*COMMAND, "demo"], stderr=subprocess.PIPE, text=True)
    for line in process.stderr:
        if line.startswith(f"{step:>2}  "):
            return process
    process.wait()
    raise AssertionError(f"the demonstration ended before step {step}: {process.returncode}")


@pytest.mark.mosquitto
def test_the_demonstration_ends_with_a_verified_message_and_its_effect(home):
    run = demo(as_json=True)
    assert run.returncode == 0, run.stderr
    seen = json.loads(run.stdout)
    assert seen["tls.up"]["version"] == "TLSv1.2"
    assert seen["mqtt.up"]["client_id"] == "sensor-01"
    assert seen["reading"]["temperature_c"] == 22.5
    assert seen["pixel"] == [0, 0, 255]
    # The identity that connected is the one in the LittleFS of the flash image that
    # esptool wrote: read it there with another implementation of LittleFS.
    flash = (home / "demo" / "boards" / "demo" / "flash.bin").read_bytes()
    assert flash[0x1000] == 0xE9, "the image's header is not where the chip looks"
    cert = littlefs_file(flash[0x200000:0x400000], "/id/a/cert.der")
    assert sha256(cert).hexdigest().startswith(seen["store.loaded"]["cert"])


@pytest.mark.mosquitto
def test_an_esp8266_verifies_with_keyfobs_own_engine_from_its_romfs(home, has_32_bit):
    run = demo("--board", ESP8266, as_json=True)
    assert run.returncode == 0, run.stderr
    seen = json.loads(run.stdout)
    assert (seen["board"], seen["micropython"]) == (ESP8266, "32-bit, with the chip's own heap")
    assert seen["tls.up"]["version"] == "TLSv1.2"
    assert seen["tls.up"]["cipher"] == "TLS-ECDHE-ECDSA-WITH-AES-128-GCM-SHA256"
    assert seen["tls.up"]["resumed"] is False
    assert seen["reading"]["temperature_c"] == 22.5
    assert seen["pixel"] == [0, 0, 255]
    flash = (home / "demo" / "boards" / "demo" / "flash.bin").read_bytes()
    assert flash[0] == 0xE9, "the image's header is not where the chip looks"
    assert flash[0xB0000:].startswith(b"\xd2\xcd\x31"), "no ROMFS where the port has it"
    # The port leaves the last 20 KB to the chip's own settings.
    cert = littlefs_file(flash[0x100000:-20480], "/id/a/cert.der")
    assert sha256(cert).hexdigest().startswith(seen["store.loaded"]["cert"])


@pytest.mark.mosquitto
@pytest.mark.slow  # it waits until the board had its 30 seconds
def test_an_esp8266_played_by_64_bits_ends_well_or_with_the_reason(home, monkeypatch):
    monkeypatch.setenv("KEYFOB_MICROPYTHON", str(Path(sys.executable).with_name("micropython")))
    run = demo("--board", ESP8266)
    assert "no ROMFS image, plain files: there is no vfs.rom_ioctl" in run.stderr
    if run.returncode == 0:
        assert "(plain files; 64-bit, with twice the chip's heap" in run.stderr
        return
    assert run.returncode == 5
    told = run.stderr[run.stderr.index("error  demo.not-connected") :]
    assert "does not get as far as tls.up: The board has no piece of memory large enough" in told
    assert "tls.no-memory" in told
    assert "played by 64-bit, with twice the chip's heap and no ROMFS" in told
    assert "fix    run it on x86-64 Linux with a Debian mirror" in told


def test_a_real_board_is_not_demonstrated_on(home):
    run = demo("--board", "esp8266", as_json=True)
    assert run.returncode == 2
    error = json.loads(run.stdout)["error"]
    assert error["code"] == "demo.not-virtual"
    assert "virtual ones: virtual-esp32, virtual-esp8266" in error["evidence"]
    assert "make flash provision hil BOARD=esp8266 PORT=" in error["fix"]
    assert not (home / "demo").exists()


def littlefs_file(partition: bytes, path: str) -> bytes:
    from littlefs import LittleFS

    volume = LittleFS(block_size=4096, block_count=len(partition) // 4096, mount=False)
    volume.context.buffer = bytearray(partition)
    volume.mount()
    with volume.open(path, "rb") as file:
        return file.read()


@pytest.mark.mosquitto
@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    "steps",
    [(3, 9), pytest.param(range(1, STEPS + 1), marks=pytest.mark.slow)],
    ids=["some", "every"],
)
def test_a_demonstration_killed_at_any_step_starts_again(home, steps):
    for step in steps:
        process = start_until(step)
        process.kill()  # no chance to clean up
        process.wait()
    run = demo()
    assert run.returncode == 0, run.stderr
    assert "proved in" in run.stderr


@pytest.mark.mosquitto
@pytest.mark.parametrize(
    ("step", "number"),
    [
        (3, signal.SIGINT),
        (8, signal.SIGTERM),
        pytest.param(3, signal.SIGTERM, marks=pytest.mark.slow),
        pytest.param(5, signal.SIGINT, marks=pytest.mark.slow),
        pytest.param(5, signal.SIGTERM, marks=pytest.mark.slow),
        pytest.param(8, signal.SIGINT, marks=pytest.mark.slow),
    ],
)
def test_an_interrupted_demonstration_leaves_no_process(home, step, number):
    process = start_until(step)
    process.send_signal(number)
    assert process.wait(20) == 130
    # The fixture fails the test if any process is still there.


@pytest.mark.mosquitto
def test_a_second_demonstration_in_the_same_bench_is_told_who_is_there(home):
    first = start_until(1)
    try:
        second = demo()
        assert second.returncode == 4
        assert "demo.running" in second.stderr
        assert "fix " in second.stderr
    finally:
        first.send_signal(signal.SIGINT)
        first.wait(20)


@pytest.mark.mosquitto
@pytest.mark.parametrize("name", breakages(ON_ESP32))
def test_what_is_broken_on_purpose_is_told_with_cause_evidence_and_fix(home, name):
    check_told(demo("--break", name), name)


@pytest.mark.mosquitto
@pytest.mark.parametrize("name", breakages(set(BREAKAGES) - ON_ESP32 - IN_README))
def test_an_esp8266_tells_what_is_broken_with_cause_evidence_and_fix(home, has_32_bit, name):
    check_told(demo("--board", ESP8266, "--break", name), name)


def check_told(run: subprocess.CompletedProcess[str], name: str) -> None:
    assert run.returncode == 0, run.stderr
    told = run.stderr.split("broken on purpose")[1]
    assert any(f"error  {code}" in told for code in BREAKAGES[name].codes)
    for label in ("cause", "seen", "fix"):
        assert f"    {label:<7}" in told
    assert any(f"    doctor {code}, " in told for code in CAUSES[name]), told
