"""The chip under us, as far as events speak of it."""

import machine

from keyfob import __version__
from keyfob.events import emit, start

_CAUSES = ("PWRON_RESET", "HARD_RESET", "WDT_RESET", "DEEPSLEEP_RESET", "SOFT_RESET")


def emit_boot() -> None:
    """The ``boot`` event: reset cause, firmware version, the chip's unique id."""
    start()
    device = "".join("%02x" % byte for byte in machine.unique_id())
    emit("boot", cause=_reset_cause(), version=__version__, device=device)


def _reset_cause() -> str:
    # Ports number the causes differently, and none has all of them.
    cause = machine.reset_cause()
    for name in _CAUSES:
        if getattr(machine, name, None) == cause:
            return name[: name.find("_")].lower()
    return str(cause)
