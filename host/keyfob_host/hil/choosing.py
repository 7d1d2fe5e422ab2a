"""Which cases of a suite are run: by rung of the ladder, and whether they take long."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

import pytest

from keyfob_host.doctor.catalogue import LADDER


def choose(items: Sequence[pytest.Item], rungs: str | None, is_long: bool) -> set[pytest.Item]:
    """Those of ``items`` that are to be left out.

    ``rungs``: names with commas between them, None for all. Errors: `pytest.UsageError` for
    a rung that is on no ladder, asked for or marked.
    """
    wanted = {_known(name.strip(), "asked for") for name in (rungs or "").split(",") if name}
    left_out = set()
    for item in items:
        marker = item.get_closest_marker("rung")
        rung = _known(str(marker.args[0]), item.nodeid) if marker else None
        if (wanted and rung not in wanted) or (not is_long and item.get_closest_marker("long")):
            left_out.add(item)
    return left_out


def _known(rung: str, where: str) -> str:
    if rung in LADDER:
        return rung
    near = difflib.get_close_matches(rung, LADDER, 1, 0.4)
    hint = f"; did you mean {near[0]}?" if near else ""
    raise pytest.UsageError(f"{where}: no rung {rung!r}{hint} There are: {', '.join(LADDER)}")
