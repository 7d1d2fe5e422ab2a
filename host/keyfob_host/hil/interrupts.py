"""Ctrl-C in a run: it ends the run, and what is being started or ended is not left halfway."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from keyfob_host.errors import ExitStatus, KeyfobHostError


@contextmanager
def interrupts_deferred() -> Iterator[None]:
    """Ctrl-C and SIGTERM take effect at the end of the body."""
    if threading.current_thread() is not threading.main_thread():
        yield  # signals never interrupt another thread
        return
    seen: list[int] = []
    before = {
        number: signal.signal(number, lambda got, _frame: seen.append(got))
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if seen:
        raise KeyboardInterrupt


@contextmanager
def interrupts_unwrapped() -> Iterator[None]:
    """An error that says "interrupted" becomes the interrupt again.

    `flash_board` explains Ctrl-C to a person who flashes; to a run that would be one
    more failed story, after which it went on.
    """
    try:
        yield
    except KeyfobHostError as error:
        if error.status is ExitStatus.INTERRUPTED:
            raise KeyboardInterrupt from error
        raise
