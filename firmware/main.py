"""The whole program: say that we booted, read the settings, run the application."""

import asyncio

from keyfob import board, config, events
from keyfob.errors import KeyfobError


def main() -> None:
    board.emit_boot()
    try:
        settings = config.load()
        name = settings["app"].get("name", "sensor")
        app = getattr(__import__("apps." + config.check_app_name(name)), name)
        asyncio.run(app.run(settings))
    except KeyfobError as error:
        # Settings that cannot work: only a person can mend them, over this console.
        events.emit_error(error)
    finally:
        # After Ctrl-C the loop still holds our tasks; the REPL gets a fresh one.
        asyncio.new_event_loop()


main()
