"""The six operations, and the part of them that both back ends share.

A back end brings a `RawRepl` (code in, output and error output back). Exec, eval,
read, write and hash are built on it here, so that a file written over ampy is written
exactly as one over mpremote. What is not checked: that nobody else changes the
board's files meanwhile (the port is ours alone).
"""

from __future__ import annotations

import ast
import binascii
import contextlib
import struct
from collections.abc import Iterator
from typing import Any, Protocol, TypeVar

from keyfob_host.errors import ExitStatus, KeyfobHostError
from keyfob_host.transport import failures, prompt, upload
from keyfob_host.transport.upload import Progress

EXEC_TIMEOUT_S = 10.0
_HASH_TIMEOUT_S = 60.0
_READ_LINE = 240  # bytes a line of base64; a multiple of 3, so that only the last one is padded
_READ_BYTES = 16 * _READ_LINE  # of a file in one answer: half a second of an 115200 baud line

_Self = TypeVar("_Self")


class Transport(Protocol):
    """A board at its raw REPL. Paths are absolute; errors are `KeyfobHostError` ``board.*``."""

    url: str
    board: str
    piece_chars: int  # base64 that one command may carry to the board

    def exec(self, code: str, *, timeout_s: float = EXEC_TIMEOUT_S, doing: str = ...) -> bytes:
        """Run ``code``; its standard output. ``board.exec-failed`` carries the traceback.

        ``timeout_s`` is for all of it; ``doing`` completes "while …" in errors.
        """

    def eval(self, expression: str) -> object:
        """The value of ``expression``, which must be a literal's (numbers, bytes, tuples …)."""

    def read(self, path: str) -> bytes:
        """The file's content. ``board.no-file`` if it is not there."""

    def write(self, path: str, data: bytes, *, progress: Progress | None = None) -> None:
        """Replace ``path``: written to ``path.new``, its SHA-256 compared, then renamed.

        The old file stays until the new one is proven. ``progress(done, of)`` in
        bytes. Errors: ``board.disk-full``, ``board.write-corrupt``, ``board.*``.
        """

    def hash(self, path: str) -> bytes | None:
        """SHA-256 of the file, computed on the board; None if it is not there."""

    def reset(self) -> None:
        """Restart the board as its reset button would; the transport is used up."""

    def close(self) -> None:
        """Leave the raw REPL and free the port."""

    def __enter__(self: _Self) -> _Self: ...

    def __exit__(self, *_: object) -> None: ...


class RawRepl(Protocol):
    """What a back end brings: an open port, and code run at the raw REPL's prompt."""

    serial: Any

    def exec_raw(self, command: bytes, timeout: float) -> tuple[bytes, bytes]:
        """Run ``command``; (output, error output)."""

    def exec_raw_no_follow(self, command: bytes) -> None:
        """Start ``command`` and do not wait for its end."""

    def close(self) -> None:
        """Close the port."""


class RawReplTransport:
    """The six operations over a `RawRepl`; see `Transport`.

    ``failure`` is what the back end raises when an answer is missing or wrong. Its
    text never goes further: it may hold an echo of what was sent.
    """

    def __init__(
        self, url: str, board: str, repl: RawRepl, failure: type[BaseException], piece_chars: int
    ) -> None:
        self.url = url
        self.board = board
        self.piece_chars = piece_chars
        self._repl = repl
        self._failure = failure
        self._at_prompt = True
        self._uploader = upload.Uploader(self.exec, board, piece_chars)

    def enter(self, *, soft_reset: bool, timeout_s: float) -> None:
        """Get the raw REPL, whatever the board is doing; the port is closed on failure."""
        try:
            with self._translated("interrupting its program", timeout_s):
                prompt.enter_raw_repl(
                    self._repl.serial, self.url, self.board,
                    soft_reset=soft_reset, timeout_s=timeout_s,
                )  # fmt: skip
        except BaseException:
            self.close()
            raise

    @contextlib.contextmanager
    def _translated(self, doing: str, timeout_s: float) -> Iterator[None]:
        try:
            yield
        except OSError as error:  # serial.SerialException is one
            raise failures.connection_lost(self.url, doing, str(error)) from None
        except (self._failure, struct.error):  # struct.error: mpremote got no window size
            raise failures.no_answer(self.url, doing, timeout_s) from None

    def _run(self, code: bytes, timeout_s: float, doing: str) -> tuple[bytes, bytes]:
        with self._translated(doing, timeout_s):
            return self._repl.exec_raw(code, timeout=timeout_s)

    def exec(
        self, code: str, *, timeout_s: float = EXEC_TIMEOUT_S, doing: str = "running code"
    ) -> bytes:
        output, errors = self._run(code.encode(), timeout_s, doing)
        if errors:
            raise failures.exec_failed(errors, doing) from None
        return output

    def eval(self, expression: str) -> object:
        output = self.exec(f"print(repr(({expression})))", doing="evaluating an expression").strip()
        try:
            value: object = ast.literal_eval(output.decode())
        except (ValueError, SyntaxError):
            raise KeyfobHostError(
                "board.not-a-literal", "the board's answer is not a plain value",
                evidence=failures.tail_of(output), fix="evaluate repr(…) or str(…) of it",
                status=ExitStatus.BOARD,
            ) from None  # fmt: skip
        return value

    def read(self, path: str) -> bytes:
        content = bytearray()
        while True:
            piece = self._read_piece(path, len(content))
            if piece is None:
                raise KeyfobHostError(
                    "board.no-file", f"there is no file {path} on the board",
                    fix="mpremote fs ls :/", status=ExitStatus.BOARD,
                )  # fmt: skip
            content += piece
            if len(piece) < _READ_BYTES:
                return bytes(content)

    def _read_piece(self, path: str, offset: int) -> bytes | None:
        code = (
            "import binascii\n"
            "try:\n"
            f" with open({path!r},'rb') as _f:\n"
            f"  _f.seek({offset})\n"
            f"  for _n in range({_READ_BYTES // _READ_LINE}):\n"
            f"   _d=_f.read({_READ_LINE})\n"
            "   if not _d:break\n"
            "   print(binascii.b2a_base64(_d).decode(),end='')\n"
            "except OSError as e:\n"
            " if e.args[0]!=2:raise\n"
            " print('-')\n"
        )
        answer = self.exec(code, doing=f"reading {path}").split()
        return None if answer == [b"-"] else binascii.a2b_base64(b"".join(answer))

    def write(self, path: str, data: bytes, *, progress: Progress | None = None) -> None:
        self._uploader.write(path, data, progress)

    def hash(self, path: str) -> bytes | None:
        from keyfob_host.transport.files import hashes

        return hashes(self, [path], timeout_s=_HASH_TIMEOUT_S)[path]

    def reset(self) -> None:
        try:
            with self._translated("resetting it", EXEC_TIMEOUT_S):
                self._repl.exec_raw_no_follow(b"import machine\nmachine.reset()")
                self._repl.serial.flush()
                self._at_prompt = False
        finally:
            self.close()

    def close(self) -> None:
        if self._repl.serial.is_open:
            with contextlib.suppress(OSError):
                if self._at_prompt:
                    prompt.leave_raw_repl(self._repl.serial)
            with contextlib.suppress(OSError):
                self._repl.close()

    def __enter__(self: _Self) -> _Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
