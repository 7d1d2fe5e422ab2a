"""The host's error codes, read from its own source: each stands beside its cause and its fix.

Code, cause and fix are strings of one call or one row of a table; where a function puts an
error together from what it is given, those who call it give them. What a cause says of one
case is shown as an ellipsis. Nothing is imported or run for it, and what a code means is not
judged; a code whose words are put together at run time alone is not found.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import TypeGuard

_QUOTED = re.compile(r'f?"([a-z0-9-]{2,48}\.[a-z0-9-]{0,48})(\{\w+\})?"')
_FILE_ENDS = ("pem", "der", "py", "mpy", "toml", "json", "txt", "conf", "log", "bin", "key", "crt")
_PACKAGE = Path(__file__).resolve().parent.parent
# What others print, with the catalogue's codes beside it: nothing there is raised here.
_TABLES = (("doctor", "numbers"), ("doctor", "phrases"))
_ERROR = "KeyfobHostError"

_Words = tuple[str, str]
# What a name stands for: an argument of the function it is in, or a constant of the module.
_Names = Mapping[str, ast.expr]


@lru_cache(maxsize=64)
def find_host_code(code: str) -> _Words | None:
    """The cause and the fix ("" where it has none of its own) of ``code``, None if unknown."""
    files = _written_in()
    beginnings = [code[:end] for end in range(len(code), code.find(".") - 1, -1)]
    for path in dict.fromkeys(path for one in beginnings for path in files.get(one, ())):
        try:
            tree = ast.parse(path.read_bytes())
        except (OSError, SyntaxError, ValueError):
            continue
        for words in (_put_together(tree, code), _beside(tree, code)):
            if words is not None and " " in words[0]:
                return words
    return None


@lru_cache(maxsize=1)
def _written_in() -> dict[str, list[Path]]:
    """In which of the host's files each string stands that could be a code, or begin one."""
    found: dict[str, list[Path]] = {}
    for path in sorted(_PACKAGE.rglob("*.py")):
        if path.relative_to(_PACKAGE).parts[:2] in _TABLES:
            continue
        try:
            text = path.read_text("utf-8")
        except (OSError, ValueError):
            continue
        for beginning, _ in set(_QUOTED.findall(text)):
            if beginning.rpartition(".")[2] not in _FILE_ENDS:
                found.setdefault(beginning, []).append(path)
    return found


def _beside(tree: ast.Module, code: str) -> _Words | None:
    """Cause and fix next to ``code`` in a call or a tuple of ``tree``."""
    names = _constants(tree)
    for node in (way for one in ast.walk(tree) for way in _ways(one)):
        if isinstance(node, ast.Call):
            values, named = node.args, {one.arg: one.value for one in node.keywords}
        elif isinstance(node, ast.Tuple):
            values, named = node.elts, {}
        else:
            continue
        for index, value in enumerate(values):
            if isinstance(value, ast.Constant) and value.value == code:
                texts = [text for one in values[index + 1 :] if (text := _text(one, names))]
                fix = _text(named["fix"], names) if "fix" in named else "".join(texts[1:2])
                cause = _text(named["cause"], names) if "cause" in named else "".join(texts[:1])
                if cause:
                    return cause, fix
    return None


def _ways(node: ast.AST) -> list[ast.AST]:
    """``node``, or where it calls with one code or another, a call for each of the two."""
    if not isinstance(node, ast.Call) or not node.args or not isinstance(node.args[0], ast.IfExp):
        return [node]
    test = ast.dump(node.args[0].test)

    def taken(value: ast.expr, *, is_so: bool) -> ast.expr:
        if isinstance(value, ast.IfExp) and ast.dump(value.test) == test:
            return value.body if is_so else value.orelse
        return value

    return [
        ast.Call(
            node.func,
            [taken(one, is_so=is_so) for one in node.args],
            [ast.keyword(one.arg, taken(one.value, is_so=is_so)) for one in node.keywords],
        )
        for is_so in (True, False)
    ]


def _put_together(tree: ast.Module, code: str) -> _Words | None:
    """Cause and fix of an error that a function makes of its arguments, by all who call it."""
    found: list[_Words] = []
    for function in ast.walk(tree):
        if not isinstance(function, ast.FunctionDef):
            continue
        for error in ast.walk(function):
            if not _calls(error, _ERROR) or len(error.args) < 2:
                continue
            for given in _arguments(tree, function):
                if _text(error.args[0], given) == code:
                    fixes = [one.value for one in error.keywords if one.arg == "fix"]
                    fix = _text(fixes[0], given) if fixes else ""
                    found.append((_text(error.args[1], given), fix))
    causes = list(dict.fromkeys(cause for cause, _ in found))
    fixes_told = list(dict.fromkeys(fix for _, fix in found))
    return ("; or: ".join(causes), "; or: ".join(fixes_told)) if any(causes) else None


def _arguments(tree: ast.Module, function: ast.FunctionDef) -> Iterator[_Names]:
    """What the names of ``function`` stand for in each call of it."""
    constants = _constants(tree)
    parameters = [one.arg for one in function.args.args if one.arg != "self"]
    for call in ast.walk(tree):
        if _calls(call, function.name):
            named = {one.arg: one.value for one in call.keywords if one.arg}
            yield {**constants, **dict(zip(parameters, call.args, strict=False)), **named}


def _calls(node: ast.AST, name: str) -> TypeGuard[ast.Call]:
    if not isinstance(node, ast.Call):
        return False
    called = node.func
    return name == (called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", ""))


def _constants(tree: ast.Module) -> _Names:
    return {
        target.id: node.value
        for node in tree.body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }


def _text(node: ast.expr, names: _Names) -> str:
    """The text of a string, f-string or sum of them, with … for what is put in; "" if none."""
    return "".join(_pieces(node, names))


def _pieces(node: ast.expr, names: _Names) -> Iterator[str]:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield re.sub(r"\{\w+\}", "…", node.value)
    elif isinstance(node, ast.JoinedStr):
        for part in node.values:
            yield from _pieces(part, names)
    elif isinstance(node, ast.FormattedValue):
        yield "".join(_pieces(node.value, names)) or "…"
    elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        yield from _pieces(node.left, names)
        yield from _pieces(node.right, names)
    elif isinstance(node, ast.Name) and node.id in names:
        # Without its own name: an argument may be called like what is given for it.
        others = {name: value for name, value in names.items() if name != node.id}
        yield from _pieces(names[node.id], others)
