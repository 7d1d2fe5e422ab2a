"""Which of the firmware's modules a board has no use for.

A board connects through one of two TLS engines: MicroPython's mbedTLS, or Keyfob's own,
which is more than half of the firmware. Each is entered through one module; what the
other one alone imports is found by following the imports, so that no list has to be
kept. Imports by computed names are not followed: those of the entries themselves, of
applications, and some within Keyfob's engine.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from pathlib import Path

_ENTRIES = {"keyfob": "keyfob.tls.opening", "mbedtls": "keyfob.tls.mbedtls"}
_PARTS = tuple(f"keyfob.{folder}" for folder in ("tls", "pki", "crypto"))


def left_out(source: Path, engine: str) -> set[str]:
    """Files of ``source`` (as ``keyfob/crypto/gcm.py``) that a board with the TLS engine
    ``engine`` is not sent; none where the other engine has no entry."""
    modules = {
        ".".join(path.relative_to(source).with_suffix("").parts).removesuffix(".__init__"): path
        for path in source.rglob("*.py")
    }
    other = "mbedtls" if engine == "keyfob" else "keyfob"
    entry = _ENTRIES[other]
    if entry not in modules:
        return set()
    # Of Keyfob's engine, anything may be imported by a computed name.
    reached = modules.keys() if other == "keyfob" else _reached([entry], modules)
    doubtful = {name for name in reached if name.startswith(_PARTS)}
    roots = (modules.keys() - doubtful) | ({_ENTRIES[engine]} & modules.keys())
    needed = _reached(roots, {name: path for name, path in modules.items() if name != entry})
    return {modules[name].relative_to(source).as_posix() for name in doubtful - needed}


def _reached(roots: Iterable[str], modules: dict[str, Path]) -> set[str]:
    """``roots`` and all of ``modules`` that they import, directly or not."""
    todo = list(roots)
    reached = set(todo)
    while todo:
        for name in _imports(modules[todo.pop()]):
            # Importing a.b.c imports a and a.b too.
            parts = name.split(".")
            for count in range(1, len(parts) + 1):
                found = ".".join(parts[:count])
                if found in modules and found not in reached:
                    reached.add(found)
                    todo.append(found)
    return reached


def _imports(path: Path) -> Iterator[str]:
    """Every module that the file may import, wherever in it that stands."""
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
