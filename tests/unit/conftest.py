"""Puts the firmware and the fakes of a board's modules on the path before any test file."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import device_support  # noqa: F401
import pytest


@pytest.fixture(autouse=True)
def quick_collector() -> Iterator[None]:
    """Device code collects garbage wherever a small heap needs it. CPython's collector would
    go over all of pytest each time, which was most of the time that these tests took."""
    gc.freeze()
    yield
    gc.unfreeze()
