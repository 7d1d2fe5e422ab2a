"""The floor of `keyfob.clock`: the latest time that was seen, in a file, over a reboot."""

import os

from micropython import const

from keyfob.errors import KeyfobError
from keyfob.events import emit_error

PATH = "/clock"
# When this firmware was made: 2026-11-01 00:00 UTC. It was not earlier than that.
BUILT_S = const(1_793_491_200)


def read(path: str) -> int:
    """The kept floor, 0 when there is none or it is not a number (it is only a floor)."""
    try:
        with open(path) as file:
            text = file.read(11)
    except OSError:
        return 0
    return int(text) if text.isdigit() and len(text) <= 10 else 0


def keep(path: str, unix_s: int) -> bool:
    """Whether the floor could be kept. A full or worn flash costs the floor, and is told,
    not the connection."""
    new_path = path + ".new"
    try:
        with open(new_path, "w") as file:
            file.write(str(unix_s))
        os.rename(new_path, path)
    except OSError as error:
        emit_error(KeyfobError("clock.floor-not-kept", "%s: %s" % (new_path, error)))
        return False
    return True
