#!/usr/bin/env python3
"""Measure how deep the calls of the whole program go on a virtual ESP8266.

    python tools/bench_stack.py [--chains]

A chip has 8 KB of stack; where a call finds none left, MicroPython raises RuntimeError. The board
is that of `tests/bench/rotation_rig.py`, as `keyfob` sets one up, with the application
`sensor_small`; it runs through everyday stories, and `tools/stack_probe.py` tells the most that
was in use in each. Two columns: what is left of the virtual board's limit, for all calls; and
what is left for the firmware's own up to a depth that the chip allows as well, as 22 plain calls
nest on the board and 19 on the chip (its port is no Python). ``--chains`` tells the functions.
It judges nothing and is no test.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import micropython32  # beside this script
import stack_probe
from bench import rig as bench_rig

sys.path.insert(0, str(bench_rig.ROOT / "tests" / "bench"))

import rotation_rig
from rotation_rig import DEVICE_ID, Rig

from keyfob_host.data import data_path
from keyfob_host.mpy import board_files
from keyfob_host.names import replacements
from keyfob_host.parts import left_out
from keyfob_host.pki.renewal import renew
from keyfob_host.provision.settings import Settings
from keyfob_host.relay import Fault
from keyfob_host.rotation.offer import certificate_files

_KIND = "virtual-esp8266"
_PLAIN_CALL_BYTES = 304
_OWN_BYTES = stack_probe.LIMIT_BYTES - 3 * _PLAIN_CALL_BYTES
_POLL_S = 0.002
_SETTLE_S = 2.0
_COMMAND = f"devices/{DEVICE_ID}/command"


def _connect(rig: Rig) -> None:
    rig.virtual.reset()
    _is_up(rig)


def _resume(rig: Rig) -> None:
    rig.virtual.cut_connections()
    _is_up(rig)


def _lose_wifi(rig: Rig) -> None:
    rig.virtual.wifi(False)
    rig.event("mqtt.down")
    rig.virtual.wifi(True)
    _is_up(rig)


def _be_refused(rig: Rig) -> None:
    rig.relay.fail(Fault("cut"))
    rig.event("error")
    time.sleep(_SETTLE_S)
    rig.relay.clear()
    _is_up(rig)


def _be_commanded(rig: Rig) -> None:
    for number in range(3):
        rig.client.publish(_COMMAND, json.dumps({"color": [number, 0, 0], "period_s": 1}))
    rig.client.publish(_COMMAND, b"nonsense")
    rig.event("app.bad-command")


def _rotate(rig: Rig) -> None:
    issued = renew(rig.authority, rig.device, new_key=False)
    rig.deliver(rig.offer(certificate_files(issued)))


def _refuse_offer(rig: Rig) -> None:
    rig.send(b"offer " + b"A" * 500)
    rig.event("identity.refused")
    _is_up(rig)


def _tell_state(rig: Rig) -> None:
    rig.send(b"state")
    rig.state()


def _is_up(rig: Rig) -> None:
    rig.event("mqtt.up")
    time.sleep(_SETTLE_S)


_STORIES: tuple[tuple[str, Callable[[Rig], None]], ...] = (
    ("power on, handshake in full, readings", _connect),
    ("connection cut, session resumed", _resume),
    ("loss of Wi-Fi", _lose_wifi),
    ("broker away, errors told", _be_refused),
    ("commands, a wrong one", _be_commanded),
    ("state of the identity asked for", _tell_state),
    ("an offer that is refused", _refuse_offer),
    ("a new certificate: offer, files, trial", _rotate),
)


def main() -> int:
    options = _options()
    micropython32.command()
    for version, title in ((4, "3.1.1"), (5, "5.0")):
        with _board(version) as (rig, probe):
            rig.event("mqtt.up")
            print(f"\n| MQTT {title}: stack left | all calls | the firmware's own, on a chip |")
            print("|---|---:|---:|")
            for name, story in _STORIES:
                rig.forget()
                probe.begin()
                story(rig)
                (every, chain), (own, own_chain) = probe.deepest
                left = f"{stack_probe.LIMIT_BYTES - every:,} | {_OWN_BYTES - own:,}"
                print(f"| {name} | {left} |", flush=True)
                if options.chains:
                    print("  all: " + " > ".join(chain) + "\n  own: " + " > ".join(own_chain))
    return 0


@contextlib.contextmanager
def _board(version: int) -> Iterator[tuple[Rig, stack_probe.StackProbe]]:
    """One that speaks ``version``, watched."""
    made = rotation_rig.Settings

    def settings(**given: object) -> Settings:
        found = made(**given)  # type: ignore[arg-type]
        return replace(found, extra={**found.extra, "broker.version": version})

    rotation_rig.Settings = settings  # type: ignore[assignment, misc]
    with contextlib.ExitStack() as stack:
        stack.callback(setattr, rotation_rig, "Settings", made)
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="keyfob-bench-")))
        rig = stack.enter_context(rotation_rig.rotation_rig(folder, _KIND))
        probe = stack_probe.StackProbe(lambda: rig.virtual.info().get("chip_pid"), _names())
        is_over = threading.Event()
        watcher = threading.Thread(target=_watch, args=(probe, is_over))
        watcher.start()
        stack.callback(watcher.join)
        stack.callback(is_over.set)
        yield rig, probe


def _watch(probe: stack_probe.StackProbe, is_over: threading.Event) -> None:
    while not is_over.wait(_POLL_S):
        probe.watch()


def _names() -> stack_probe.Names:
    """What the board's short names stand for."""
    source = data_path("firmware")
    files = board_files(source, compiled=True, without=left_out(source, "keyfob"))
    found = {}
    for path, names in replacements(source, files).items():
        module = path.strip("/").removesuffix(".mpy").replace("/", ".").removesuffix(".__init__")
        found[module] = {short: name for name, short in names.items()}
    return found


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--chains", action="store_true", help="tell the functions as well")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
