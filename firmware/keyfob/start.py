"""The whole program: say that we booted, read the settings, run the application."""

import gc
import sys

from micropython import const

from keyfob import drop, events, plenty_bytes
from keyfob.errors import KeyfobError

# Garbage is collected when so much was allocated since the last time. An ESP8266's 38 KB
# are broken up by it sooner than an ESP32's 110 KB.
_COLLECT_BYTES = const(16_384)
_COLLECT_SMALL_BYTES = const(2_048)


def shell(line: str = "") -> None:
    """For the REPL: ``shell()`` prompts for commands, ``shell("date")`` runs one."""
    from keyfob import shell as module

    module.start(line)


def main() -> None:
    """Run the application that the settings name, until it ends or Ctrl-C ends it."""
    # Garbage between what stays breaks up the heap, and TLS wants a few KB in one piece.
    if hasattr(gc, "threshold"):
        is_small = gc.mem_free() < plenty_bytes
        gc.threshold(_COLLECT_SMALL_BYTES if is_small else _COLLECT_BYTES)
    try:
        from keyfob import application

        program, settings = application.load()
        del application
        drop("application", "board", "config")
        running = program.run(settings)
        if running:
            import asyncio

            asyncio.run(running)
    except KeyfobError as error:
        # Settings that cannot work: only a person can mend them, over this console.
        events.emit_error(error)
        print("shell() tells more, and what can be done; Ctrl-D restarts.")
    except KeyboardInterrupt:
        print("The application was stopped. shell() opens the shell; Ctrl-D restarts.")
        raise
    finally:
        # After Ctrl-C the loop still holds our tasks; the REPL gets a fresh one.
        if "asyncio" in sys.modules:
            sys.modules["asyncio"].new_event_loop()
