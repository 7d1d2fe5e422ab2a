"""The whole program: say that we booted, read the settings, run the application."""

import asyncio
import gc

from keyfob import board, config, events
from keyfob.errors import KeyfobError

_COLLECT_BYTES = 16_384


def shell(line: str = "") -> None:
    """For the REPL: ``shell()`` prompts for commands, ``shell("date")`` runs one."""
    from keyfob import shell as module

    module.start(line)


def main() -> None:
    # Garbage between what stays breaks up the heap, and TLS wants a few KB in one piece.
    if hasattr(gc, "threshold"):
        gc.threshold(_COLLECT_BYTES)
    board.emit_boot()
    try:
        settings = config.load()
        name = settings["app"].get("name", "sensor")
        app = getattr(__import__("apps." + config.check_app_name(name)), name)
        asyncio.run(app.run(settings))
    except KeyfobError as error:
        # Settings that cannot work: only a person can mend them, over this console.
        events.emit_error(error)
        print("shell() tells more, and what can be done; Ctrl-D restarts.")
    except KeyboardInterrupt:
        print("The application was stopped. shell() opens the shell; Ctrl-D restarts.")
        raise
    finally:
        # After Ctrl-C the loop still holds our tasks; the REPL gets a fresh one.
        asyncio.new_event_loop()


main()
