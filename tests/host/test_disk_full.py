"""A disk that is full, or cannot be written: what is told, and that nothing is lost by it."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

from keyfob_rig import Keyfob
from usb_rig import needs_namespace

KEYFOB = f"{shlex.quote(sys.executable)} -m keyfob_host --json"
UNSHARE = ["unshare", "--mount", *(["--user", "--map-root-user"] if os.getuid() else [])]


def on_a_disk_of(folder: Path, kilobytes: int, script: str) -> list[dict[str, Any]]:
    """The JSON of each command of ``script``, whose bench is on a disk of that size."""
    mount = f"mount -t tmpfs -o size={kilobytes}k none {shlex.quote(str(folder))}"
    done = subprocess.run(
        [*UNSHARE, "sh", "-c", f"{mount} || exit 77\n{script}"],
        env={**os.environ, "KEYFOB_HOME": str(folder / "bench")},
        capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip
    assert done.returncode != 77, done.stderr
    assert "Traceback" not in done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@needs_namespace
def test_revoking_on_a_full_disk_is_no_damage_and_can_be_done_again(keyfob: Keyfob) -> None:
    folder = keyfob.home.parent / "disk"
    folder.mkdir()
    filler = shlex.quote(str(folder / "filler"))
    _, _, full, listed, revoked, again = on_a_disk_of(
        folder,
        150,
        f"{KEYFOB} ca init --no-passphrase\n{KEYFOB} cert device sensor-01\n"
        f"head -c 1000k /dev/zero > {filler} 2>/dev/null\n"
        f"{KEYFOB} cert revoke sensor-01\n{KEYFOB} cert list\n"
        f"rm {filler}\n{KEYFOB} cert revoke sensor-01\n{KEYFOB} cert list\n",
    )
    assert full["error"]["code"] == "host.disk-full"
    assert full["error"]["fix"].startswith("df -h ")
    states = {one["name"]: one["state"] for one in listed["certificates"]}
    assert states["sensor-01"] == "valid"
    assert "error" not in revoked
    states = {one["name"]: one["state"] for one in again["certificates"]}
    assert states["sensor-01"] == "revoked"
