#!/usr/bin/env python3
"""Keyfob's MQTT client measured beside umqtt.simple and mqtt_as, in one run.

    tools/bench_mqtt.py [--write] [--mqtt-as FILE] [--micropython DIR]
                        [--profile | --steps]

One machine, one mosquitto, one MicroPython, 64-byte payloads; plain TCP and mutual TLS.
Needs mosquitto, valgrind, strace and the 32-bit MicroPython of `micropython32.py`.
Prints a table; with ``--write`` also puts it into ``tools/RESULTS.md``. It judges nothing
and is no test: figures are the machine's as much as the client's. umqtt.simple is fetched
by pip at a pinned hash; mqtt_as is on no package index, so it takes part when its one
file is given. Code frozen into the interpreter is measured where ``--micropython`` names a
folder of MicroPython's sources and `bench.frozen` can build them. ``--profile`` prints the
C functions that a QoS 1 publish spends most in, ``--steps`` where the heap of the client
without asyncio goes.
"""

from __future__ import annotations

import argparse
import datetime
import platform
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from bench import frozen, heap, measure, rig
from bench.heap import Story
from bench.measure import Subject

_RESULTS = rig.ROOT / "tools" / "RESULTS.md"
_WINDOW = 8
Row = tuple[str, Callable[[Subject], float | None], str]
# Label, measurement, and how to write it. The others wait for delayed acknowledgements or
# sleep between looks at the socket, so they get fewer messages for their rate.
_ROWS: tuple[Row, ...] = (
    ("QoS 1 publish/s, one at a time", lambda s: measure.rate(s, "publish", _many(s)), ",.0f"),
    (
        f"QoS 1 publish/s, {_WINDOW} on their way",
        lambda s: measure.rate(s, "publish", 16_000, _WINDOW) if _has_window(s) else None,
        ",.0f",
    ),
    (
        "instructions a QoS 1 publish",
        lambda s: measure.instructions(s, "publish", _some(s)),
        ",.0f",
    ),
    (
        f"instructions a QoS 1 publish, {_WINDOW} on their way",
        lambda s: measure.instructions(s, "publish", 320, _WINDOW) if _has_window(s) else None,
        ",.0f",
    ),
    (
        "instructions a received QoS 0 message",
        lambda s: measure.instructions(s, "receive", 500),
        ",.0f",
    ),
    ("instructions an idle second", lambda s: measure.instructions(s, "idle", 5), ",.0f"),
    ("socket writes a QoS 1 publish", lambda s: measure.writes(s, 48), ".2f"),
    (
        f"socket writes a QoS 1 publish, {_WINDOW} on their way",
        lambda s: measure.writes(s, 160, _WINDOW) if _has_window(s) else None,
        ".2f",
    ),
    *(
        (
            f"longest wait of another task while {phase}, ms",
            lambda s, phase=phase: _wait(s, phase),
            ".1f",
        )
        for phase in ("connecting", "publishing", "receiving", "streaming", "reconnecting")
    ),
    ("smallest 32-bit heap, bytes", lambda s: _heap(s, "story", False), ",.0f"),
    ("the same with the code in ROMFS", lambda s: _heap(s, "story", True), ",.0f"),
    ("the same with the code frozen", lambda s: _frozen_heap(s, "story"), ",.0f"),
    ("smallest heap without asyncio", lambda s: _heap(s, "blocking", False), ",.0f"),
    ("the same with the code in ROMFS", lambda s: _heap(s, "blocking", True), ",.0f"),
    ("the same with the code frozen", lambda s: _frozen_heap(s, "blocking"), ",.0f"),
    ("smallest heap for 1 MB each way", lambda s: _heap(s, "large", False), ",.0f"),
    ("the same with the code in ROMFS", lambda s: _heap(s, "large", True), ",.0f"),
)


def main() -> int:
    options = _options()
    missing = [name for name in ("mosquitto", "valgrind", "strace") if not shutil.which(name)]
    if missing:
        sys.exit(f"not on this machine: {', '.join(missing)}")
    with tempfile.TemporaryDirectory(prefix="keyfob-bench-") as scratch:
        folder = Path(scratch)
        with rig.Broker(folder) as broker:
            (folder / "plain-port").write_text(str(broker.ports["tcp"]))
            subjects = _subjects(folder, broker, options)
            if options.profile:
                print(measure.profile(subjects["tcp"][0], "publish", 300))
                return 0
            if options.steps:
                print("\n".join(_steps(subjects)))
                return 0
            text = "\n".join(_tables(subjects)) + "\n" + _sizes(options.mqtt_as)
    text = _head(options) + "\n" + text
    print(text)
    if options.write:
        _RESULTS.write_text(_INTRODUCTION + text)
    return 0


def _subjects(
    folder: Path, broker: rig.Broker, options: argparse.Namespace
) -> dict[str, list[Subject]]:
    found: dict[str, list[Subject]] = {}
    for transport in rig.TRANSPORTS:
        port = broker.ports[transport]
        boards = {
            "keyfob": rig.keyfob_board(folder / f"keyfob-{transport}", transport, broker),
            "umqtt": rig.umqtt_board(folder / f"umqtt-{transport}", broker),
        }
        if options.mqtt_as:
            file = options.mqtt_as
            boards["mqtt_as"] = rig.mqtt_as_board(folder / f"as-{transport}", broker, file)
        interpreter = None
        if options.micropython and not options.profile:
            at = folder / f"frozen-{transport}"
            interpreter = frozen.build(options.micropython, list(boards.values()), at)
        found[transport] = [
            Subject(name, transport, at, port, interpreter) for name, at in boards.items()
        ]
    return found


def _tables(subjects: dict[str, list[Subject]]) -> list[str]:
    lines = []
    for transport, several in subjects.items():
        names = [rig.TITLES[subject.library] for subject in several]
        lines += ["", f"| {transport.upper()} | " + " | ".join(names) + " |"]
        lines.append("|---|" + "---:|" * len(names))
        for label, measurement, form in _ROWS:
            cells = []
            for subject in several:
                print(f"{transport} {subject.library}: {label}", file=sys.stderr, flush=True)
                try:
                    value = measurement(subject)
                except measure.Failed as why:
                    print(why, file=sys.stderr)
                    cells.append("failed")
                    continue
                cells.append("-" if value is None else format(value, form))
                print(f"    {cells[-1]}", file=sys.stderr, flush=True)
            lines.append(f"| {label} | " + " | ".join(cells) + " |")
    return lines


def _steps(subjects: dict[str, list[Subject]]) -> list[str]:
    """Bytes held after each step, and what it added."""
    lines = []
    for transport, (keyfob, *_) in subjects.items():
        for is_frozen in (False, True) if keyfob.frozen else (False,):
            lines += ["", f"{transport.upper()}, {'frozen' if is_frozen else 'ROMFS'}"]
            before = 0
            for name, held in heap.steps(keyfob, is_frozen).items():
                lines.append(f"{name:24}{held:8,}{held - before:+8,}")
                before = held
    return lines


def _sizes(mqtt_as: Path | None) -> str:
    sizes = rig.mpy_sizes()
    core = sum(sizes[name] for name in rig.CORE)
    blocking = sum(sizes[name] for name in rig.CORE_BLOCKING)
    client = core + sum(size for name, size in sizes.items() if name in rig.MORE)
    lines = [
        "",
        "| `.mpy`, bytes (`-O3`, any processor) | |",
        "|---|---:|",
        f"| Keyfob, core client ({_stems(rig.CORE)}) | {core:,} |",
        f"| Keyfob, core client without asyncio ({_stems(rig.CORE_BLOCKING)}) | {blocking:,} |",
        f"| Keyfob, everything of MQTT | {client:,} |",
        f"| umqtt.simple | {rig.size_of(rig.umqtt_simple()):,} |",
    ]
    if mqtt_as:
        lines.append(f"| mqtt_as | {rig.size_of(mqtt_as):,} |")
    each = ", ".join(f"{name[7:-3]} {size:,}" for name, size in sizes.items() if size > 50)
    return "\n".join(lines) + f"\n\nEach module of the firmware: {each}.\n"


def _stems(names: tuple[str, ...]) -> str:
    return ", ".join(Path(name).stem for name in names)


def _head(options: argparse.Namespace) -> str:
    words = "tools/bench_mqtt.py" + (" --mqtt-as mqtt_as/__init__.py" if options.mqtt_as else "")
    today = datetime.date.today().isoformat()
    machine = f"{rig.processor()}, {platform.system()} {platform.machine()}"
    versions = "; ".join(rig.versions())
    return f"`{words}`, {today}, {machine}. {versions}.\n"


_INTRODUCTION = """\
# Results

What the last run of the benchmark said; `make bench` makes a new one. Rates are over the
loopback and share the machine with the broker. Instructions are user-mode ones of the
64-bit MicroPython under callgrind, the difference between a run with n and one with 2n
messages, over a link of 1 ms each way, so that no answer is there at once. How long Keyfob
keeps asyncio from a task that wants a turn every 10 ms is in the way of publishing and
receiving 500 messages, 100 KB each way, and a TLS handshake of mbedTLS's. Heap is that of
a 32-bit MicroPython for connecting, subscribing, 50 QoS 1 publishes and 50 receptions, three
times in a row;
Keyfob's story also has the connection cut half-way, a reconnect and what it has to send
again, of which the others are not capable, and it has a second one: 1 MB out and 1 MB in,
streamed through buffers of 256 bytes, cut once. The code is loaded from `.mpy` files, or stays
in a ROMFS image beside the heap (with the short names of `keyfob sync`), or is frozen into the
interpreter, if it was built for that; mbedTLS's own buffers are outside it there. Wi-Fi, clock
and identity store are left out of all alike.

"""


def _many(subject: Subject) -> int:
    return 4000 if subject.library == "keyfob" else 100


def _some(subject: Subject) -> int:
    return 400 if subject.library == "keyfob" else 100


def _heap(subject: Subject, program: str, is_rom: bool) -> int | None:
    is_ours = subject.library == "keyfob"
    if program != "story" and not is_ours:
        return None
    return heap.smallest(subject, Story(program, is_rom, is_cut=is_ours))


def _frozen_heap(subject: Subject, program: str) -> int | None:
    is_ours = subject.library == "keyfob"
    if not subject.frozen or (program != "story" and not is_ours):
        return None
    return heap.smallest(subject, Story(program, is_rom=False, is_cut=is_ours, is_frozen=True))


def _wait(subject: Subject, phase: str) -> float | None:
    return measure.longest_waits_ms(subject)[phase] if subject.library == "keyfob" else None


def _has_window(subject: Subject) -> bool:
    return subject.library == "keyfob"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true", help="update tools/RESULTS.md")
    parser.add_argument("--profile", action="store_true", help="where a publish spends its time")
    parser.add_argument("--steps", action="store_true", help="where the heap goes")
    parser.add_argument("--micropython", type=Path, metavar="DIR", help="its sources, to freeze")
    parser.add_argument("--mqtt-as", type=Path, metavar="FILE", help="mqtt_as/__init__.py")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
