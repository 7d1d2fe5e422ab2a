#!/usr/bin/env python3
"""Measure Keyfob's own TLS engine: instructions, heap by step, sizes of its modules.

    python tools/bench_tls.py [--write] [--only WORD]

Mutual handshakes with mosquitto, AES-128-GCM, records of 512 bytes, certificates as
`keyfob ca` and `keyfob cert` issue them, directly below the CA. Heap and instructions are
those of the 32-bit MicroPython, whose objects and integers have the sizes of a board's;
garbage is collected as often as `keyfob.start` has it where the heap is small.
Heap is measured from .mpy files and from a ROMFS image, both with the names that an
ESP8266 gets; it holds the program that drives the engine too, but no MQTT client. A
step's figure is what is live after it. Instructions are user-mode ones under callgrind,
run from the image in 38 KB of heap: a process with handshakes more, less one without.
Prints tables; with ``--write`` also puts them into ``tools/RESULTS_TLS.md``. Needs
mosquitto and valgrind. It judges nothing and is no test.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "tests" / "bench"), str(ROOT / "host")]

from firmware_bench import FIRMWARE, Mosquitto  # noqa: E402

import bench_crypto  # noqa: E402 - beside this script
from bench import lx106, rig  # noqa: E402
from keyfob_host import romfs  # noqa: E402
from keyfob_host.mpy import board_files  # noqa: E402
from keyfob_host.names import merge_names  # noqa: E402
from keyfob_host.pki.authority import Authority  # noqa: E402
from keyfob_host.pki.profiles import load_profile  # noqa: E402
from keyfob_host.virtual import micropython32  # noqa: E402

HOST = "broker.keyfob.test"
STORY = ROOT / "tools" / "bench" / "device" / "tls_story.py"
_RESULTS = ROOT / "tools" / "RESULTS_TLS.md"
_PACKAGES = ("/keyfob/tls/", "/keyfob/pki/", "/keyfob/crypto/")
_TOP_KB = 96
_STEP_KB = 0.25
_COUNTED_HEAP_KB = 38
# Where it is collected late: with less, broken up, there may be no piece left for 1.3.
_LATE_HEAP_KB = 80
_LIMIT_S = 60
_RESUMED = 4  # so many in a row are counted
_COUNTED_LIMIT_S = 300
_COLLECT = re.compile(r"^_COLLECT_SMALL_BYTES = const\(([0-9_]+)\)", re.MULTILINE)
_WHEN_FULL = -1
_COLLECTED = re.compile(r"Collected : (\d+)")
# Maps the image, so that it is no part of the heap, and runs the story from it.
_FROM_ROM = """import ffi, os, sys, uctypes, vfs
def mount(path):
    libc = ffi.open("libc.so.6")
    size = os.stat(path)[6]
    handle = libc.func("i", "open", "si")(path, 0)
    at = libc.func("i", "mmap", "iIiiiI")(0, size, 1, 1, handle, 0)
    vfs.mount(vfs.VfsRom(uctypes.bytearray_at(at & 0xFFFFFFFF, size)), "/rom")
    sys.path[:] = ["/rom"]
mount({!r})
del mount, ffi, uctypes, vfs
import keyfob.tls_story
"""


@dataclass(frozen=True)
class Keys:
    """The kinds of key of the CA and the broker, and of the board."""

    title: str
    broker: str
    board: str


@dataclass(frozen=True)
class Kind:
    """What is spoken. ``psk_ke``: resumed without a key exchange. ``is_kept``: with a broker
    that keeps the sessions, so that a ticket is no more than their number."""

    title: str
    version: int
    psk_ke: bool = False
    is_kept: bool = False


@dataclass(frozen=True)
class Place:
    """A board's folder, and the ports of the broker that gives all of a session away in
    its ticket and of the one that keeps it. ``collect_bytes``: how much is allocated between
    two collections of garbage."""

    folder: Path
    collect_bytes: int
    identity: Path
    port: int
    keeping_port: int
    heap_kb: int = _COUNTED_HEAP_KB


_KEYS = (
    Keys("ECDSA", "p256", "p256"),
    Keys("RSA-2048, the board ECDSA", "rsa2048", "p256"),
    Keys("RSA-2048, the board too", "rsa2048", "rsa2048"),
)
_KINDS = (
    Kind("1.2", 12),
    Kind("1.3", 13),
    Kind("1.3, resumed without a key exchange", 13, psk_ke=True),
    Kind("1.3, so resumed, the broker keeps the sessions", 13, psk_ke=True, is_kept=True),
)


def main() -> int:
    options = _options()
    micropython32.fetch()
    lines = []
    with tempfile.TemporaryDirectory(prefix="keyfob-bench-") as scratch:
        folder = Path(scratch)
        sizes = build(folder)
        counted = bench_crypto._counted_micropython(folder / "i386")
        cycles = lx106.cycles(lambda text: count(counted, folder, "38k", ["-c", text]))
        chosen = [keys for keys in _KEYS if (options.only or "") in keys.title]
        lines += handshakes(folder, counted, chosen, cycles)
        lines += ["", *estimate(cycles)]
        with place(folder, _KEYS[0]) as there:
            lines += ["", *heap(there)]
    lines += ["", "## `.mpy` sizes", "", "As an ESP8266 gets them, bytes:", ""]
    lines.append(", ".join(f"{name[7:]} {size:,}" for name, size in sorted(sizes.items())) + ";")
    lines.append(f"{sum(sizes.values()):,} in all.")
    text = f"`tools/bench_tls.py`, {rig.processor()}. "
    text += "; ".join(one for one in rig.versions() if one.startswith(("mosq", "32-", "mpy")))
    text += ".\n\n" + "\n".join(lines) + "\n"
    print(text)
    if options.write:
        _RESULTS.write_text(_INTRODUCTION + text)
    return 0


def build(folder: Path) -> dict[str, int]:
    """The firmware and the story in ``folder/files`` and in ``folder/image.romfs``; sizes."""
    source = folder / "source"
    shutil.copytree(FIRMWARE, source, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(STORY, source / "keyfob")
    files = merge_names(source, board_files(source))
    for file in files:
        target = folder / "files" / file.path[1:]
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(file.data)
    _, packed = romfs.split(files)
    (folder / "image.romfs").write_bytes(romfs.build(packed).data)
    (folder / "rom.py").write_text(_FROM_ROM.format(str(folder / "image.romfs")))
    return {file.path[1:-4]: len(file.data) for file in files if file.path.startswith(_PACKAGES)}


@contextmanager
def place(folder: Path, keys: Keys) -> Iterator[Place]:
    """mosquitto with a certificate of ``keys``, and what the story reads."""
    profile = replace(load_profile("ca", kind="authority"), key_type=keys.broker)
    authority = Authority.ephemeral("Bench CA", profile=profile)
    own = Path(tempfile.mkdtemp(dir=folder))
    shown = authority.issue_broker(HOST, key_type=keys.broker).write(own / "broker")
    board = authority.issue_device("sensor-01", key_type=keys.board)
    (own / "ca.pem").write_bytes(authority.cert_pem())
    (own / "ca.der").write_bytes(authority.cert_der())
    (own / "cert.der").write_bytes(board.cert_der())
    (own / "key.der").write_bytes(board.key_der_for("keyfob"))
    (own / "now").write_text(str(int(time.time())))
    lines = [
        f"cafile {own}/ca.pem", f"certfile {shown}/chain.pem", f"keyfile {shown}/key.pem",
        "require_certificate true", "allow_anonymous true",
    ]  # fmt: skip
    # psk_ke for those who ask for nothing else; with the others there is a key exchange.
    options = "AllowNoDHEKEX"
    keeping = Mosquitto(own / "keeping", lines, openssl_options=options + ",-SessionTicket")
    with keeping, Mosquitto(own / "log", lines, openssl_options=options) as broker:
        yield Place(folder, collect_bytes(), own, broker.port, keeping.port)


def collect_bytes() -> int:
    """What the firmware gives `gc.threshold` on a board with a small heap."""
    found = _COLLECT.search((FIRMWARE / "keyfob" / "start.py").read_text())
    if not found:
        sys.exit("firmware/keyfob/start.py has no _COLLECT_SMALL_BYTES")
    return int(found[1])


def handshakes(
    folder: Path, counted: list[str], chosen: list[Keys], cycles: lx106.Cycles
) -> list[str]:
    lines = [
        "## Instructions",
        "",
        "| certificates | TLS | in full | resumed | times fewer | in full, s at 80 MHz"
        " | resumed, s at 80 MHz | in full, 80 KB of heap, collected when it is full |",
        "|---|---|---:|---:|---:|---:|---:|---:|",
    ]
    for keys in chosen:
        with place(folder, keys) as there:
            for kind in _KINDS:
                tell(f"{keys.title}, TLS {kind.title}")
                some = (0, 1, 1 + _RESUMED)
                start, one, more = (in_story(counted, there, kind, n) for n in some)
                full, resumed = one - start, (more - one) // _RESUMED
                late = replace(there, collect_bytes=_WHEN_FULL, heap_kb=_LATE_HEAP_KB)
                start, one = (in_story(counted, late, kind, n) for n in (0, 1))
                lines.append(
                    f"| {keys.title} | {kind.title} | {full:,} | {resumed:,} | {full / resumed:.1f}"
                    f" | {cycles.seconds(full)} | {cycles.seconds(resumed)} | {one - start:,} |"
                )
                tell(lines[-1])
    return lines


def in_story(counted: list[str], there: Place, kind: Kind, handshakes: int) -> int:
    """The instructions of a process with so many of them."""
    words = story(there, "rom", kind, "plain", handshakes)
    return count(counted, there.folder, f"{there.heap_kb}k", words)


def estimate(cycles: lx106.Cycles) -> list[str]:
    return [
        "## Seconds on an ESP8266: an estimate",
        "",
        *_ESTIMATE.format(
            source=lx106.SOURCE, low=cycles.low, middle=cycles.middle, high=cycles.high
        ).splitlines(),
        "",
        "| program | seconds on the chip, 80 MHz | instructions here | cycles an instruction |",
        "|---|---:|---:|---:|",
        *cycles.lines,
    ]


def heap(there: Place) -> list[str]:
    lines = ["## Heap by step", ""]
    lines += ["| from | handshake | smallest heap, KB | live at its peak | connected | steps |"]
    lines.append("|---|---|---:|---:|---:|---|")
    for source, title in (("files", "`.mpy` files"), ("rom", "ROMFS")):
        for kind in _KINDS:
            for which, how in enumerate((" in full", " resumed")):
                if kind.psk_ke:
                    if not which:
                        continue  # the one above
                    how = ""
                tell(f"heap, {title}, TLS {kind.title}{how}")
                cells = heap_cells(there, source, kind, which)
                lines.append(f"| {title} | {kind.title}{how} | {' | '.join(cells)} |")
    return lines


def heap_cells(there: Place, source: str, kind: Kind, which: int) -> list[str]:
    smallest = smallest_heap(there, source, kind, which + 1)
    said = run(there, source, 256, kind, "steps", which + 1)
    opened = re.findall(r"open (\w+) (\d+)", said)[which]
    if opened[0] != str(bool(which)):
        sys.exit(f"handshake {which} of TLS {kind.title}: resumed {opened[0]}")
    steps: dict[str, int] = {}
    for phase, number in re.findall(r"step (\w+) (\d+)", said.split("open ")[which]):
        phase = "end" if phase == "None" else phase
        steps[phase] = max(steps.get(phase, 0), int(number))
    return [
        f"{smallest:.1f}" if smallest else f"more than {_TOP_KB}",
        f"{max(steps.values()):,}",
        f"{int(opened[1]):,}",
        ", ".join(f"{phase} {most:,}" for phase, most in steps.items()),
    ]


def story(there: Place, source: str, kind: Kind, how: str, count: int) -> list[str]:
    """The arguments with which a MicroPython plays it."""
    start = ["-c", "import sys; sys.path[:] = ['files']; import keyfob.tls_story"]
    if source == "rom":
        start = [str(there.folder / "rom.py")]
    what = (kind.version, int(kind.psk_ke), how, count)
    port = there.keeping_port if kind.is_kept else there.port
    given = (port, there.identity, *what, there.collect_bytes)
    return [*start, *map(str, given)]


def run(there: Place, source: str, heap_kb: float, kind: Kind, how: str, count: int) -> str:
    """What the story says; empty if it does not come to its end."""
    words = [*micropython32.command(), "-X", f"heapsize={int(heap_kb * 1024)}"]
    words += story(there, source, kind, how, count)
    try:
        done = subprocess.run(
            words, cwd=there.folder, capture_output=True, text=True, timeout=_LIMIT_S, check=False
        )
    except subprocess.TimeoutExpired:
        return ""
    return done.stdout if "bench done" in done.stdout else ""


def smallest_heap(there: Place, source: str, kind: Kind, count: int) -> float | None:
    low, high = 8.0, float(_TOP_KB)
    if not run(there, source, high, kind, "plain", count):
        return None
    while high - low > _STEP_KB:
        middle = (low + high) / 2
        if run(there, source, middle, kind, "plain", count):
            high = middle
        else:
            low = middle
    return high


def count(counted: list[str], folder: Path, heap: str, arguments: list[str]) -> int:
    """User-mode instructions of a process."""
    tool = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null"]
    done = subprocess.run(
        [*tool, *counted, "-X", f"heapsize={heap}", *arguments],
        cwd=folder, capture_output=True, text=True, timeout=_COUNTED_LIMIT_S, check=False,
    )  # fmt: skip
    found = _COLLECTED.search(done.stderr)
    if done.returncode or not found:
        sys.exit(f"{arguments}: {done.stdout[-1000:]}{done.stderr[-1000:]}")
    return int(found[1])


def tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


_INTRODUCTION = """\
# The TLS engine

What the last run of `tools/bench_tls.py` said: mutual handshakes with mosquitto,
AES-128-GCM, records of 512 bytes, certificates as `keyfob ca` and `keyfob cert` issue them,
directly below the CA. Counts and heap are those of the 32-bit MicroPython, whose objects and
integers have the sizes of a board's, with garbage collected as often as on a board with a
small heap. Instructions are user-mode ones under callgrind, the code in ROMFS, 38 KB of
heap, the handshake's own modules loaded on the way, certificates and key read from files;
a resumed handshake is one of four in a row behind it, each with a ticket. Collecting garbage
is in them, and in the whole program, with more in its heap, it takes more; the last column,
with more heap, is without most of it. Ratios are within one run; counts move by a tenth with
the keys drawn and with what happens to be collected. Resuming 1.3 has a key exchange of its
own (psk_dhe_ke), and that is its cost; without one (psk_ke, the setting `tls.psk_ke`) a
resumed connection has no forward secrecy of its own. mosquitto allows it here, by OpenSSL's
option AllowNoDHEKEX. A third of what is left goes into the next ticket, in which OpenSSL puts
the board's certificate; with the option -SessionTicket mosquitto keeps its sessions, until it
is restarted, and a ticket has 32 bytes. Heap holds the program that drives the engine, but no
MQTT client: that of the whole program is in `RESULTS_ESP8266.md`. A step's figure is what is
live after it.

"""
_ESTIMATE = """\
Nobody measured a chip for this. The times above are the instructions, times what one of them
costs an ESP8266, by 80 MHz. That price is taken from programs whose time on an ESP8266 with
MicroPython 1.23 at 80 MHz is published ({source}):
the same sums are run here and their instructions counted in the same way. The middle,
{middle:.2f} cycles an instruction, is the geometric mean of the four; the low end, {low:.2f},
the cheapest of them; the high end, {high:.2f}, the dearest and half as much again, because
bytecode in ROMFS shares the cache of the flash with the interpreter, which those programs did
not let it do (an assumption). At 160 MHz flash stays as slow as it is: from half of these
times to all but as much. Network and broker come on top."""


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true", help="update tools/RESULTS_TLS.md")
    parser.add_argument("--only", metavar="WORD", help="certificates whose title has this word")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
