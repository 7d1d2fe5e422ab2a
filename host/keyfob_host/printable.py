"""Foreign text, made safe to show: what a board, a peer or a certificate says is not obeyed.

A name can be a control sequence, which moves a terminal's cursor; characters that turn the
direction of writing (U+202E) or take no room (U+200B) make one name look like another.
Each is spelled out as Python would (``\\x1b``, ``\\u202e``). Not checked: letters that look
alike, and characters that are drawn upon the one before them.
"""

from __future__ import annotations

LINE_CHARS = 160  # as much of a text as one line of evidence shows
EVIDENCE_CHARS = 400  # and as much as all of it does


def printable(text: str, *, keep: str = "", limit: int | None = None) -> str:
    """``text`` in printable characters alone, those of ``keep`` (lines, tabs) left as they are.

    Spelled out is what `str.isprintable` denies: controls, line and paragraph separators, every
    space but U+0020, format characters (bidirectional, zero-width), surrogates, private use, and
    what is not assigned. Longer than ``limit`` characters it is cut, and ends with ``…``.
    """
    cut = text if limit is None else text[: limit + 1]
    shown = "".join(one if one.isprintable() or one in keep else repr(one)[1:-1] for one in cut)
    return shown if limit is None or len(shown) <= limit else shown[: limit - 1] + "…"
