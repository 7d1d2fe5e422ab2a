"""The part of Python that device code may use: a linter over the syntax tree.

Rejects what some MicroPython port that Keyfob runs on lacks, or what Keyfob's style
forbids on a device (``assert``, which ``mpy-cross -O1`` removes). Names of the modules
in `_NAMES` are checked here; whether the other modules have a function, and what it
takes, the ports' own stubs tell. A variable must not have the name of a module.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

# What a stock image has, beside the firmware's own packages.
# fmt: off
_MODULES = frozenset((
    "asyncio", "binascii", "cryptolib", "deflate", "dht", "errno", "esp", "gc", "hashlib",
    "io", "json", "machine", "micropython", "neopixel", "network", "os", "select", "socket",
    "struct", "sys", "time", "tls", "vfs", "apps", "keyfob",
))
# fmt: on
# The names that every port has, of the modules whose stubs were merged with CPython's
# own and so promise more than is there. The other modules' stubs were read from images.
_NAMES = {
    "os": (
        "chdir",
        "dupterm",
        "getcwd",
        "ilistdir",
        "listdir",
        "mkdir",
        "remove",
        "rename",
        "rmdir",
        "stat",
        "statvfs",
        "uname",
        "unlink",
        "urandom",
    ),
    "sys": (
        "argv",
        "byteorder",
        "exit",
        "implementation",
        "maxsize",
        "modules",
        "path",
        "platform",
        "print_exception",
        "stderr",
        "stdin",
        "stdout",
        "version",
    ),
    "json": ("dump", "dumps", "load", "loads"),
    "struct": ("calcsize", "pack", "pack_into", "unpack", "unpack_from"),
    "io": ("BytesIO", "IOBase", "StringIO", "open"),
    "hashlib": ("sha1", "sha256"),
    "asyncio": (
        "CancelledError",
        "Event",
        "Lock",
        "StreamReader",
        "StreamWriter",
        "Task",
        "ThreadSafeFlag",
        "TimeoutError",
        "core",
        "create_task",
        "current_task",
        "gather",
        "get_event_loop",
        "new_event_loop",
        "open_connection",
        "run",
        "sleep",
        "sleep_ms",
        "start_server",
        "wait_for",
        "wait_for_ms",
    ),
}  # fmt: skip
_MISSING_METHODS = {
    "bit_length": "int.bit_length", "bit_count": "int.bit_count",
    "partition": "str.partition", "rpartition": "str.rpartition",
    "removeprefix": "str.removeprefix", "removesuffix": "str.removesuffix",
    "casefold": "str.casefold", "zfill": "str.zfill", "ljust": "str.ljust",
    "rjust": "str.rjust", "title": "str.title", "capitalize": "str.capitalize",
    "isalnum": "str.isalnum", "isidentifier": "str.isidentifier",
    "translate": "str.translate", "expandtabs": "str.expandtabs",
    "with_traceback": "exception.with_traceback", "add_note": "exception.add_note",
    "hexdigest": "hash.hexdigest", "copy": "hash.copy (and dict.copy costs a copy)",
    "fromhex": "bytes.fromhex", "tobytes": "memoryview.tobytes",
    "recv_into": "socket.recv_into",
}  # fmt: skip


@dataclass(frozen=True)
class Finding:
    """One violation: ``path:line: what``."""

    path: Path
    line: int
    what: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.what}"


def check_file(path: Path) -> list[Finding]:
    """Everything in ``path`` that device code may not use, in the order of the lines."""
    try:
        tree = ast.parse(path.read_text("utf-8"), filename=str(path))
    except SyntaxError as error:
        return [Finding(path, error.lineno or 0, f"syntax: {error.msg}")]
    findings = {
        Finding(path, getattr(node, "lineno", 0), what)
        for node in ast.walk(tree)
        for what in _judge(node)
    }
    return sorted(findings, key=lambda finding: (finding.line, finding.what))


def _judge(node: ast.AST) -> Iterator[str]:
    if isinstance(node, (ast.Import, ast.ImportFrom)):
        yield from _judge_import(node)
    elif isinstance(node, ast.Call):
        yield from _judge_call(node)
    elif isinstance(node, ast.Attribute):
        yield from _judge_attribute(node)
    elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
        if node.args.posonlyargs:
            yield "positional-only parameters"
    elif isinstance(node, (ast.List, ast.Tuple, ast.Set)):
        loaded = not isinstance(getattr(node, "ctx", ast.Load()), ast.Store)
        if loaded and any(isinstance(part, ast.Starred) for part in node.elts):
            yield "* in a list, tuple or set display"
    elif isinstance(node, ast.Dict):
        if None in node.keys:
            yield "** in a dict display"
    elif isinstance(node, ast.comprehension):
        if node.is_async:
            yield "asynchronous comprehension"
    elif isinstance(node, (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)):
        if any(isinstance(part, ast.Await) for part in ast.walk(node)):
            yield "await inside a comprehension"
    elif isinstance(node, ast.ClassDef):
        if node.keywords:
            yield "class keywords (metaclass)"
        if node.decorator_list:
            yield "class decorator"
    elif isinstance(node, ast.FormattedValue):
        if node.conversion not in (-1, ord("r"), ord("s")):
            yield "f-string conversion other than !r and !s"
    else:
        yield from _judge_statement(node)


def _judge_statement(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Assert):
        yield "assert (mpy-cross -O1 removes it)"
    elif type(node).__name__ == "Match":
        yield "match"
    elif type(node).__name__ == "TryStar":
        yield "except*"
    elif type(node).__name__ == "TypeAlias":
        yield "type statement"
    elif isinstance(node, ast.MatMult):
        yield "matrix multiplication"
    elif isinstance(node, ast.With) and len(node.items) > 4:
        yield "with of more than four items"


def _judge_import(node: ast.Import | ast.ImportFrom) -> Iterator[str]:
    names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
    if isinstance(node, ast.Import):
        names = [alias.name for alias in node.names]
    elif node.level:
        yield "relative import"
        return
    for name in names:
        if name.split(".")[0] not in _MODULES:
            yield f"import of {name}, which a stock image lacks"
    if isinstance(node, ast.ImportFrom):
        for alias in node.names:
            if alias.name == "*":
                yield "import of *"
            elif node.module in _NAMES and alias.name not in _NAMES[node.module]:
                yield f"{node.module}.{alias.name}"


def _judge_call(node: ast.Call) -> Iterator[str]:
    if isinstance(node.func, ast.Name):
        if node.func.id == "pow" and len(node.args) == 3:
            yield "pow with three arguments"
        if node.func.id in ("breakpoint", "ascii", "vars", "aiter", "anext"):
            yield f"{node.func.id}()"
        if node.func.id == "zip" and any(word.arg == "strict" for word in node.keywords):
            yield "zip(strict=…)"
    signed = any(word.arg == "signed" for word in node.keywords)
    if signed and isinstance(node.func, ast.Attribute) and node.func.attr == "from_bytes":
        yield "int.from_bytes(signed=…), which is ignored"


def _judge_attribute(node: ast.Attribute) -> Iterator[str]:
    module = node.value.id if isinstance(node.value, ast.Name) else ""
    if module in _NAMES and node.attr not in _NAMES[module]:
        yield f"{module}.{node.attr}"
    elif node.attr in _MISSING_METHODS:
        yield _MISSING_METHODS[node.attr]
