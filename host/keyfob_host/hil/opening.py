"""The bench of this process: before a board, or before a device of any make."""

from __future__ import annotations

from contextlib import nullcontext

import pytest

from keyfob_host.hil.bench import Bench
from keyfob_host.hil.capabilities import SERIAL, why_not
from keyfob_host.hil.external import ExternalBench, ExternalOptions
from keyfob_host.hil.lineup import own_board
from keyfob_host.hil.progress import Progress

AnyBench = Bench | ExternalBench


def open_bench(config: pytest.Config) -> AnyBench:
    """The one that was asked for, not yet started. Errors: those of `own_board`."""
    options = own_board(config)
    if isinstance(options, ExternalOptions):
        return ExternalBench(options, lambda text: _say(config, text))
    return Bench(options, lambda text: _say(config, text))


def board_bench(bench: AnyBench) -> Bench:
    """``bench``, which has to be before a board: skips the case where it is not."""
    if isinstance(bench, Bench):
        return bench
    pytest.skip(f"{why_not(SERIAL)} (the case is about a board of Keyfob's)")


def _say(config: pytest.Config, line: str) -> None:
    """Show a person ``line`` now, whatever of the output is captured."""
    capture = config.pluginmanager.get_plugin("capturemanager")
    with capture.global_and_fixture_disabled() if capture else nullcontext():
        for plugin in config.pluginmanager.get_plugins():
            if isinstance(plugin, Progress):
                plugin.say(line)
