"""Functions' own names in the tracebacks of a board that has short ones.

A traceback keeps module and line (`keyfob_host.names`), and the source says in which
function that line is. Not checked: that the board has the same version of the source.
"""

from __future__ import annotations

import ast
import re
from functools import lru_cache
from pathlib import Path

_FRAME = re.compile(r'(\s*File "(keyfob(?:\.\w+)*)", line (\d+), in )(\w+)')


def with_own_name(line: str, source: Path) -> str:
    """A line of a console; if it is a frame of a traceback in a module of ``source``, with
    the name that the function has there."""
    frame = _FRAME.fullmatch(line.rstrip())
    if frame is None:
        return line
    module = source.joinpath(*frame[2].split("."))
    for path in (module.with_suffix(".py"), module / "__init__.py"):
        if path.is_file():
            return frame[1] + (_name_at(path, int(frame[3])) or frame[4])
    return line


@lru_cache(maxsize=256)
def _name_at(path: Path, line: int) -> str:
    """The innermost function or class around a line; "" if there is none."""
    try:
        tree = ast.parse(path.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return ""
    around = [
        node
        for node in ast.walk(tree)
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef))
        and node.lineno <= line <= (node.end_lineno or node.lineno)
    ]
    return max(around, key=lambda node: node.lineno).name if around else ""
