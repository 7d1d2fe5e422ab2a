"""Which of the firmware's modules a kind of board has no use for.

A board whose own TLS verifies needs none of Keyfob's engine, which is more than half of
the firmware. What the engine alone imports is found by following the imports, so that no
list has to be kept. Imports by computed names are not followed: the engine has some, the
rest of the firmware has none.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

_ENGINE = "keyfob.tls.opening"  # the one way into it
_PACKAGE = "keyfob"


def left_out(source: Path, engine: str) -> set[str]:
    """Files of ``source`` (as ``keyfob/crypto/gcm.py``) that a board with the TLS engine
    ``engine`` is not sent; none for Keyfob's own, or where there is no such engine."""
    modules = {
        ".".join(path.relative_to(source).with_suffix("").parts).removesuffix(".__init__"): path
        for path in source.rglob("*.py")
    }
    if engine == "keyfob" or _ENGINE not in modules:
        return set()
    folders = ("tls", "pki", "crypto")
    roots = [
        name
        for name in modules
        if name.split(".")[0] != _PACKAGE or name.split(".")[1:2] not in [[one] for one in folders]
    ]
    needed = set(roots)
    while roots:
        for name in _imports(modules[roots.pop()]):
            # Importing a.b.c imports a and a.b too.
            parts = name.split(".")
            for count in range(1, len(parts) + 1):
                found = ".".join(parts[:count])
                if found in modules and found not in needed and found != _ENGINE:
                    needed.add(found)
                    roots.append(found)
    return {modules[name].relative_to(source).as_posix() for name in modules.keys() - needed}


def _imports(path: Path) -> Iterator[str]:
    """Every module that the file may import, wherever in it that stands."""
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
