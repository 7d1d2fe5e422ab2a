"""Runs before main.py on every start: keep the console for events alone."""

try:
    import esp

    esp.osdebug(None)  # the vendor's own messages would land between event lines
except ImportError:
    pass  # not an ESP
