"""A board's own identity outlives a run that ends anywhere: on a LittleFS, cut at every step."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from keyfob_host.hil import aside

MICROPYTHON = Path(sys.executable).with_name("micropython")
SUITE = "hil-board"
# Every change of the file system is counted, and the n-th is the one that is not made.
DRIVER = """
import json, os as real, sys, vfs

class Memory:
    def __init__(self): self.data = bytearray(4096 * 64)
    def readblocks(self, n, buf, off=0):
        at = n * 4096 + off
        buf[:] = self.data[at:at + len(buf)]
    def writeblocks(self, n, buf, off=0):
        at = n * 4096 + off
        self.data[at:at + len(buf)] = buf
    def ioctl(self, op, arg):
        if op == 4: return 64
        if op == 5: return 4096
        if op == 6: return 0

class Cut(Exception): pass

class Counting:
    left = 1000
    listdir = real.listdir
    def change(self):
        self.left -= 1
        if self.left < 0: raise Cut()
    def rename(self, old, new): self.change(); real.rename(old, new)
    def remove(self, path): self.change(); real.remove(path)
    def rmdir(self, path): self.change(); real.rmdir(path)

counting = Counting()
sys.modules["os"] = counting

def fresh():
    try: vfs.umount("/")
    except OSError: pass
    memory = Memory()
    vfs.VfsLfs2.mkfs(memory)
    vfs.mount(vfs.VfsLfs2(memory), "/")

def write(path, text):
    folder = path.rpartition("/")[0]
    if folder and folder[1:] not in real.listdir("/"): real.mkdir(folder)
    with open(path, "w") as file: file.write(text)

def give(who, outbox):
    write("/id/key.der", who)
    write("/id/active", "a")
    write("/clock", who)
    if outbox: write("/outbox/1", who)
    write("/keyfob.json", json.dumps({"device_id": who}))

def seen():
    found = {}
    for name in real.listdir("/"):
        inner = real.listdir("/" + name) if real.stat("/" + name)[0] & 0x4000 else [None]
        for one in inner:
            path = "/" + name + ("/" + one if one else "")
            with open(path) as file: found[path] = file.read()
    return found

def run(code, cut=1000):
    \"\"\"Whether it came to its end.\"\"\"
    counting.left = cut
    try: exec(code, {})
    except Cut: return False
    return True

PUT, BRING, SUITE = %r, %r, %r
%s
"""


def on_littlefs(program: str) -> str:
    source = DRIVER % (aside._PUT % SUITE, aside._BRING, SUITE, program)
    done = subprocess.run(
        [str(MICROPYTHON), "-c", source], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_own_files_come_back_whole() -> None:
    said = on_littlefs("""
for outbox in (False, True):
    fresh(); give("mine", outbox); own = seen()
    run(PUT); assert not [path for path in seen() if ".aside" not in path], seen()
    give(SUITE, True); run(BRING)
    assert seen() == own, seen()
""")
    assert said == "True\n" * 2


def test_board_that_had_none_keeps_the_suites() -> None:
    said = on_littlefs("""
fresh(); run(PUT); give(SUITE, True); before = seen(); run(BRING)
assert seen() == before, seen()
""")
    assert said == "False\n"


def test_wherever_a_run_was_cut_the_next_one_brings_all_of_it_back() -> None:
    cuts = on_littlefs("""
cuts = 0
for outbox in (False, True):
    for provisions in ("none of it", "no settings yet", "all of it"):
        for first in range(20):
            for second in range(20):
                fresh(); give("mine", outbox); own = seen()
                if run(PUT, first) and provisions != "none of it":
                    # Without settings no program ran that could have stored messages.
                    give(SUITE, provisions == "all of it")
                    if provisions == "no settings yet": real.remove("/keyfob.json")
                cuts += 1
                run(PUT)
                give(SUITE, True)
                is_whole = run(BRING, second)
                if not is_whole:
                    run(PUT); give(SUITE, True); run(BRING)
                assert seen() == own, (outbox, provisions, first, second, seen())
                if is_whole: break
print("cuts", cuts)
""")
    assert int(cuts.rpartition("cuts ")[2]) > 500


def test_what_a_person_gave_the_board_since_is_not_replaced_by_what_was_before() -> None:
    on_littlefs("""
for outbox in (False, True):
    for cut in range(20):
        fresh(); give("mine", not outbox)
        run(PUT); give(SUITE, True)  # and the run is killed
        for path in ("/outbox/1", "/outbox"): real.remove(path)
        give("mine-too", outbox)
        own = {path: text for path, text in seen().items() if ".aside" not in path}
        run(PUT, cut); run(PUT); give(SUITE, True); run(BRING)
        assert seen() == own, (outbox, cut, seen())
""")


@pytest.mark.parametrize("code", [aside._PUT % SUITE, aside._BRING])
def test_nothing_is_done_on_a_board_without_settings_but_to_look(code: str) -> None:
    on_littlefs(
        f"fresh(); write('/main.py', 'x'); run({code!r}, 0); assert list(seen()) == ['/main.py']"
    )
