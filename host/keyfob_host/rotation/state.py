"""What a board says of its identity, on ``devices/<id>/identity/state``.

Read strictly and bounded: it is another machine's word. The fields are told in
``firmware/keyfob/rotation.py``.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from keyfob_host.printable import printable

_MAX_BYTES = 4096
_MOST_TEXT = 200
_LEAST_CHUNK, _MOST_CHUNK = 128, 65536


@dataclass(frozen=True)
class BoardState:
    """``message``: most bytes of one; ``chunk``: of one with a chunk. ``cert``: 16 hex digits.
    ``offer_s`` and ``had``: the offer under way, 0 if none is.

     ``outcome``: of the offer ``outcome_s``, "refused" or "rolled-back", "" if nothing
     failed; ``code`` and ``detail`` say why. ``damaged``: the code of what is wrong with
     the active identity, "" if nothing is.
    """

    slot: str
    cert: str
    created_s: int
    message: int
    chunk: int
    not_after_s: int = 0
    todo: str = ""
    offer_s: int = 0
    had: dict[str, int] = field(default_factory=dict)
    outcome: str = ""
    outcome_s: int = 0
    code: str = ""
    detail: str = ""
    damaged: str = ""


def read_state(payload: bytes) -> BoardState | None:
    """The state in ``payload``; None if it is none."""
    if len(payload) > _MAX_BYTES:
        return None
    try:
        told = json.loads(payload)
        offer, outcome = told.get("offer") or {}, told.get("outcome") or {}
        had = {str(name): _count(size) for name, size in offer.get("had", {}).items()}
        state = BoardState(
            slot=_text(told, "slot"),
            cert=_text(told, "cert"),
            created_s=_count(told.get("created_s", 0)),
            message=_count(told.get("message", 0)),
            chunk=_count(told.get("chunk", 0)),
            not_after_s=_count(told.get("not_after_s", 0)),
            todo=_text(told, "todo"),
            offer_s=_count(offer.get("created_s", 0)),
            had=had,
            outcome=_text(outcome, "result"),
            outcome_s=_count(outcome.get("created_s", 0)),
            code=_text(outcome, "code"),
            detail=_text(outcome, "detail"),
            damaged=_text(told, "damaged"),
        )
    except (ValueError, TypeError, AttributeError, RecursionError):
        return None
    return state if _LEAST_CHUNK <= state.chunk <= state.message <= _MOST_CHUNK else None


def _text(fields: dict[str, Any], name: str) -> str:
    return printable(str(fields.get(name) or ""), limit=_MOST_TEXT)


def _count(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 1 << 40:
        raise ValueError(f"not a count: {value!r}")
    return value
