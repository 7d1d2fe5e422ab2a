"""Modules that a rotation takes one after the other, because all at once there is no room."""

import sys

from keyfob import drop


def unload(kept: list) -> None:
    """Drop what came since ``kept``, the names of all modules, was taken, and runs no more."""
    names = [name for name in sys.modules if name not in kept]
    drop(*[name[7:] for name in names if name[:7] == "keyfob."], empties=True)
