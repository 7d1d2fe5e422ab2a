"""Keyfob's own codes: those of the board, of the host, and of the catalogue of causes.

The board's stand in ``firmware/errors.txt`` with cause and fix. The host's stand beside the
place that raises them: the code, then the cause, then the fix, as strings of one call or one
row of a table. They are read from there, so that nothing is told twice; what a cause says of
one case is shown as an ellipsis.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from keyfob_host.device_errors import load_device_errors
from keyfob_host.doctor.catalogue import causes_of_device_code, load_catalogue
from keyfob_host.doctor.meaning import Meaning

DEVICE_SOURCE = "Keyfob's firmware (firmware/errors.txt)"
HOST_SOURCE = "the keyfob command"
CATALOGUE_SOURCE = "the doctor's catalogue of causes"

CODE = re.compile(r"(?<![\w./-])[a-z0-9]{2,24}(?:-[a-z0-9]{1,24})?\.[a-z0-9-]{2,48}(?![\w./-])")
_RETRY = {
    "wait": "the board tries again by itself",
    "stop": "the board needs a person, and tries again only slowly",
}
_QUOTED = re.compile(r'"([a-z0-9-]{2,48}\.[a-z0-9-]{2,48})"')
_FILE_ENDS = ("pem", "der", "py", "mpy", "toml", "json", "txt", "conf", "log", "bin", "key", "crt")
_PACKAGE = Path(__file__).resolve().parent.parent
# What others print, with the catalogue's codes beside it: nothing there is raised here.
_TABLES = (("doctor", "numbers"), ("doctor", "phrases"))


def readings(code: str) -> list[Meaning]:
    """What one of Keyfob's codes means; nothing for a word that only looks like one."""
    found = []
    device = load_device_errors().get(code)
    if device is not None:
        words = f"{device.cause} In this case {_RETRY[device.retry]}."
        causes = causes_of_device_code(code)
        found.append(Meaning(code, DEVICE_SOURCE, words, causes, device.fix))
    cause = load_catalogue().get(code)
    if cause is not None:
        found.append(Meaning(code, CATALOGUE_SOURCE, cause.cause, (code,)))
    return found or _host(code)


@lru_cache(maxsize=64)
def _host(code: str) -> list[Meaning]:
    for path in _written_in().get(code, ()):
        try:
            words = _beside(ast.parse(path.read_bytes()), code)
        except (OSError, SyntaxError, ValueError):
            continue
        if words is not None and " " in words[0]:
            return [Meaning(code, HOST_SOURCE, words[0], (), words[1])]
    return []


@lru_cache(maxsize=1)
def _written_in() -> dict[str, list[Path]]:
    """In which of the host's files each string stands that could be a code."""
    found: dict[str, list[Path]] = {}
    for path in sorted(_PACKAGE.rglob("*.py")):
        if path.relative_to(_PACKAGE).parts[:2] in _TABLES:
            continue
        try:
            text = path.read_text("utf-8")
        except (OSError, ValueError):
            continue
        for match in set(_QUOTED.findall(text)):
            if match.rpartition(".")[2] not in _FILE_ENDS:
                found.setdefault(match, []).append(path)
    return found


def _beside(tree: ast.AST, code: str) -> tuple[str, str] | None:
    """Cause and fix next to ``code`` in a call or a tuple of ``tree``."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            values, named = node.args, {one.arg: one.value for one in node.keywords}
        elif isinstance(node, ast.Tuple):
            values, named = node.elts, {}
        else:
            continue
        for index, value in enumerate(values):
            if isinstance(value, ast.Constant) and value.value == code:
                texts = [text for text in map(_text, values[index + 1 :]) if text]
                fix = _text(named["fix"]) if "fix" in named else "".join(texts[1:2])
                cause = _text(named["cause"]) if "cause" in named else "".join(texts[:1])
                if cause:
                    return cause, fix
    return None


def _text(node: ast.AST) -> str:
    """The text of a string, f-string or sum of them, with … for what is put in; "" if none."""
    return "".join(_pieces(node))


def _pieces(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield re.sub(r"\{\w+\}", "…", node.value)
    elif isinstance(node, ast.JoinedStr):
        for part in node.values:
            yield from _pieces(part)
    elif isinstance(node, ast.FormattedValue):
        yield "…"
    elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        yield from _pieces(node.left)
        yield from _pieces(node.right)
