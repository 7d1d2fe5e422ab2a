"""What runs after a boot: the application that the settings name."""

from keyfob import board, config


def load() -> tuple:
    """Say that we booted; the module of the application, and the settings. Errors: config.*"""
    board.emit_boot()
    settings = config.load()
    name = settings["app"].get("name", "sensor")
    return getattr(__import__("apps." + config.check_app_name(name)), name), settings
