"""Runs after boot.py on every start. What it does is in `keyfob.start`, compiled."""

from keyfob.start import main, shell  # noqa: F401 - shell() is for the REPL

main()
