"""A virtual board as a process: ``python -m keyfob_host.virtual.supervisor ROOT NAME KIND``.

Started by `keyfob_host.virtual.board.VirtualBoard.up`. It holds everything a board
is made of and lives until it is told to end, gets SIGTERM, or its flash image is
removed; the MicroPython process never outlives it. Whoever starts it says on standard
input that the board is wanted; a starter that is interrupted or killed before that
leaves no board behind.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import signal
import sys
from pathlib import Path

from keyfob_host.boards import load_kind
from keyfob_host.errors import ExitStatus, KeyfobHostError, explain_os_error
from keyfob_host.home import Home
from keyfob_host.virtual import control
from keyfob_host.virtual.commands import Commands
from keyfob_host.virtual.machine import Machine
from keyfob_host.virtual.serial_port import PtyClient, Rfc2217Client, SerialLine, SocketClient

_LOOK_S = 0.5


async def _run(home: Home, name: str, kind_name: str, ready: int) -> None:
    folder = home.boards_dir / name
    image = folder / "flash.bin"
    machine = Machine(load_kind(kind_name), name, folder)
    line = SerialLine(machine.receive, machine.control_lines)
    machine.connect(line)
    loop = asyncio.get_running_loop()
    plain = await loop.create_server(lambda: SocketClient(line), "127.0.0.1", 0)
    telnet = await loop.create_server(lambda: Rfc2217Client(line), "127.0.0.1", 0)
    pty = PtyClient(line, folder / "tty")
    over = asyncio.Event()
    commands = Commands(machine, line, over.set)
    commands.ports = {
        "pty": str(folder / "tty"),
        "socket_url": f"socket://127.0.0.1:{plain.sockets[0].getsockname()[1]}",
        "rfc2217_url": f"rfc2217://127.0.0.1:{telnet.sockets[0].getsockname()[1]}?ign_set_control",
    }
    socket_path = home.ensure_runtime() / f"board-{name}.sock"
    server = await control.serve(socket_path, commands.find)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        loop.add_signal_handler(number, over.set)
    _tell(ready, {"ok": True})
    if not await _is_wanted():
        over.set()
    inode = image.stat().st_ino
    try:
        while not over.is_set():
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(over.wait(), _LOOK_S)
            with contextlib.suppress(OSError):
                if image.stat().st_ino == inode:
                    continue
            break  # the bench's folder was removed under us: nothing to play any more
    finally:
        machine.close()
        pty.close()
        for one in (server, plain, telnet):
            one.close()
        socket_path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            (folder / "tty").unlink()
        await asyncio.sleep(0.05)  # the last answer on the control socket leaves


def _lock(folder: Path) -> int:
    """Hold the board's folder for this process; refused when another holds it."""
    with explain_os_error(folder, "make the virtual board's folder"):
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        raise KeyfobHostError(
            "board.already-up", f"the virtual board {folder.name!r} is up already",
            evidence=str(folder), fix=f"keyfob board info {folder.name}",
            status=ExitStatus.BOARD,
        ) from None  # fmt: skip
    return handle


async def _is_wanted() -> bool:
    """Whether the starter lives to say so, once it knows that the board answers."""
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    transport, _ = await loop.connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin.buffer
    )
    try:
        return await reader.read(1) == control.WANTED
    finally:
        transport.close()


def _tell(ready: int, answer: dict[str, object]) -> None:
    with contextlib.suppress(OSError):
        os.write(ready, json.dumps(answer).encode())
        os.close(ready)


def main() -> None:
    """Run the board named on the command line; the last argument is a pipe to say so on."""
    root, name, kind, ready = Path(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4])
    home = Home(root)
    try:
        _lock(home.boards_dir / name)
        asyncio.run(_run(home, name, kind, ready))
    except KeyfobHostError as error:
        _tell(ready, {"error": error.as_dict()})
        sys.exit(int(error.status))


if __name__ == "__main__":
    main()
