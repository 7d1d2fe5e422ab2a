"""A bare MicroPython with a LittleFS behind a PTY: the least that a transport can talk to.

The filesystem lives in a file (4 KB blocks, as in a board's flash) and is mounted at
``/``. There is no boot ROM, no ``machine``, no ``main.py`` at the start and no soft
reset: those belong to virtual boards.
"""

from __future__ import annotations

import contextlib
import os
import pty
import select
import signal
import sys
import threading
import tty
from pathlib import Path

from littlefs import LittleFS

BLOCK_BYTES = 4096

_START = """
import os, sys, vfs

class Flash:
    def __init__(self, path, blocks):
        self.f, self.blocks = open(path, "r+b"), blocks
    def readblocks(self, n, buf, off=0):
        self.f.seek(n * 4096 + off); self.f.readinto(buf)
    def writeblocks(self, n, buf, off=None):
        if off is None:
            off = 0
        self.f.seek(n * 4096 + off); self.f.write(buf); self.f.flush()
    def ioctl(self, op, arg):
        if op == 4: return self.blocks
        if op == 5: return 4096
        if op == 6: return 0

_flash = Flash({path!r}, {blocks})
vfs.umount("/")
vfs.mount(vfs.VfsLfs2(_flash, readsize=64, progsize=64), "/")
os.chdir("/")
sys.path[:] = ["", "/"]
"""


class UnixBoard:
    """``with UnixBoard(tmp_path) as board: board.port`` is the PTY's path."""

    def __init__(self, folder: Path, *, blocks: int = 64, files: dict[str, bytes] | None = None):
        self.image = folder / "flash.img"
        self._start = folder / "start.py"
        self._blocks = blocks
        fs = LittleFS(block_size=BLOCK_BYTES, block_count=blocks, read_size=64, prog_size=64)
        for path, content in (files or {}).items():
            fs.makedirs(str(Path(path).parent), exist_ok=True)
            with fs.open(path, "wb") as file:
                file.write(content)
        self.image.write_bytes(bytes(fs.context.buffer))
        self._start.write_text(_START.format(path=str(self.image), blocks=blocks))

    def __enter__(self) -> UnixBoard:
        # Two PTYs: the process needs one as its controlling terminal (Ctrl-C), the
        # client another one; a thread carries the bytes and counts them.
        self.sent_to_board = 0
        self._last = 0
        self.cut_after: int | None = None
        self.pid, self._inner = pty.fork()
        if self.pid == 0:
            program = str(Path(sys.executable).parent / "micropython")
            os.execv(program, [program, "-X", "heapsize=256k", "-i", str(self._start)])  # noqa: S606
        # Until it is at its prompt, two Ctrl-C end the unix MicroPython; no board does that.
        booted = b""
        while not booted.endswith(b">>> "):
            booted += os.read(self._inner, 1)
        self._outer, self._client = pty.openpty()
        tty.setraw(self._client)
        self.port = os.ttyname(self._client)
        self._stop_r, self._stop_w = os.pipe()
        self._thread = threading.Thread(target=self._carry, daemon=True)
        self._thread.start()
        return self

    def _carry(self) -> None:
        while True:
            ready, _, _ = select.select([self._inner, self._outer, self._stop_r], [], [])
            if self._stop_r in ready:
                return
            try:
                if self._outer in ready:
                    data = os.read(self._outer, 4096)
                    self.sent_to_board += len(data)
                    if self.cut_after is not None and self.sent_to_board >= self.cut_after:
                        os.kill(self.pid, signal.SIGKILL)
                        return
                    os.write(self._inner, data)
                if self._inner in ready:
                    os.write(self._outer, self._one_return(os.read(self._inner, 4096)))
            except OSError:
                return

    def _one_return(self, data: bytes) -> bytes:
        """``\\r\\n`` as a board sends it: MicroPython and the terminal each add a return."""
        kept = bytearray()
        for byte in data:
            if not (byte == 13 and self._last == 13):
                kept.append(byte)
            self._last = byte
        return bytes(kept)

    def files(self) -> dict[str, bytes]:
        """All files in the flash image, read by another LittleFS than the board's."""
        fs = LittleFS(
            block_size=BLOCK_BYTES,
            block_count=self._blocks,
            read_size=64,
            prog_size=64,
            mount=False,
        )
        fs.context.buffer = bytearray(self.image.read_bytes())
        fs.mount()
        found: dict[str, bytes] = {}
        for root, _, names in fs.walk("/"):
            for name in names:
                path = f"{root.rstrip('/')}/{name}"
                with fs.open(path, "rb") as file:
                    found[path] = file.read()
        return found

    def __exit__(self, *_: object) -> None:
        os.write(self._stop_w, b"x")
        self._thread.join(5)
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        for fd in (self._inner, self._outer, self._client, self._stop_r, self._stop_w):
            os.close(fd)
