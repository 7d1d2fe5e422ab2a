"""The control socket of a virtual board: one JSON line in, one JSON line out.

A request is ``{"do": name, …arguments}``, the answer ``{"result": …}`` or
``{"error": {"code", "cause", "evidence", "fix", "status"}}``. The socket is private to
its user (0600, in a 0700 folder); there is no other check of who is asking.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

from keyfob_host.errors import ExitStatus, KeyfobHostError

# What the starter of a board says on its standard input once it knows that it answers.
WANTED = b"w"

_MAX_LINE = 1 << 20
_ANSWER_S = 30.0


async def serve(path: Path, commands: Callable[[str], Callable[..., Any] | None]) -> asyncio.Server:
    """Serve ``commands`` (a name to a function of JSON arguments) on the socket ``path``."""

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while line := await reader.readline():
                answer = await _answer(line, commands)
                writer.write(json.dumps(answer).encode() + b"\n")
                await writer.drain()
        except (ConnectionError, ValueError):
            pass
        finally:
            writer.close()

    path.unlink(missing_ok=True)
    before = os.umask(0o177)
    try:
        return await asyncio.start_unix_server(connected, str(path), limit=_MAX_LINE)
    finally:
        os.umask(before)


async def _answer(
    line: bytes, commands: Callable[[str], Callable[..., Any] | None]
) -> dict[str, Any]:
    try:
        request = json.loads(line)
        name = request.pop("do")
        command = commands(name)
        if command is None:
            raise ValueError(f"no command {name!r}")
        result = command(**request)
        if inspect.isawaitable(result):
            result = await result
        return {"result": result}
    except KeyfobHostError as error:
        return {"error": error.as_dict()}
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        return {
            "error": KeyfobHostError(
                "board.bad-command", "the virtual board does not understand this command",
                evidence=f"{line.decode(errors='replace').strip()}: {error}",
                fix="keyfob board --help", status=ExitStatus.USAGE,
            ).as_dict()
        }  # fmt: skip


def ask(path: Path, request: dict[str, Any], timeout_s: float = _ANSWER_S) -> Any:
    """Send ``request`` to the board at ``path`` and return its result.

    Errors: `OSError` when nobody answers; `KeyfobHostError` as the board raised it.
    """
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(timeout_s)
        sock.connect(str(path))
        sock.sendall(json.dumps(request).encode() + b"\n")
        with sock.makefile("rb") as stream:
            line = stream.readline(_MAX_LINE)
    if not line:
        raise ConnectionResetError("the virtual board closed its control socket")
    answer = json.loads(line)
    if "error" in answer:
        told = answer["error"]
        raise KeyfobHostError(
            told["code"], told["cause"], evidence=told["evidence"], fix=told["fix"],
            status=ExitStatus(told["status"]),
        )  # fmt: skip
    return answer["result"]
