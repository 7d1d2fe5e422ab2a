"""Files to the board: small pieces, a temporary name, a proven hash, then a rename.

A piece is deflated where the board has ``deflate`` and that is shorter, then base64.
Measured, commands and hash included: 1.4 bytes on the wire for a byte of a P-256
certificate in DER (a ``repr`` takes 2.7), 0.5 for source text. Each piece is complete
in itself, so the board needs memory for one piece and a 1 KB window, not for the
file. Where the filesystem renames in one step (LittleFS, POSIX), a power cut leaves
the old file or the new one.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import zlib
from collections.abc import Callable, Iterator
from typing import Protocol

from keyfob_host.errors import ExitStatus, KeyfobHostError
from keyfob_host.transport import failures

TEMPORARY = ".new"
PIECE_CHARS = 1024  # base64 in one piece; with its decoded forms about 6 KB of the board's heap
_PIECE_BYTES = 2048  # of the file in one piece, however well it deflates
_WINDOW_BITS = 10  # the board allocates 1 << this for every piece
_HASH_TIMEOUT_S = 60.0

_RECEIVER = f"""\
import os,hashlib,binascii
try:
 import deflate,io
 deflate.DeflateIO
except(ImportError,AttributeError):
 deflate=None
def _kf_o(p):
 global _kf_f
 _kf_f=open(p+'{TEMPORARY}','wb')
def _kf_w(s):
 _kf_f.write(binascii.a2b_base64(s))
def _kf_z(s):
 s=io.BytesIO(binascii.a2b_base64(s))
 _kf_f.write(deflate.DeflateIO(s,deflate.RAW,{_WINDOW_BITS}).read())
def _kf_c(p,h):
 _kf_f.close()
 n=p+'{TEMPORARY}'
 d=hashlib.sha256()
 b=bytearray(512)
 m=memoryview(b)
 with open(n,'rb') as f:
  while 1:
   k=f.readinto(b)
   if not k:break
   d.update(m[:k])
 d=binascii.hexlify(d.digest()).decode()
 if d==h:os.rename(n,p)
 else:os.remove(n)
 print(d)
print(deflate is not None)
"""


Progress = Callable[[int, int], None]


class _Exec(Protocol):
    def __call__(self, code: str, *, timeout_s: float = ..., doing: str = ...) -> bytes: ...


def _deflated(data: bytes) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, -_WINDOW_BITS)
    return packer.compress(data) + packer.flush()


def _chars(data_bytes: int) -> int:
    return -(-data_bytes // 3) * 4


def pieces(data: bytes, limit_chars: int, *, deflate: bool) -> Iterator[tuple[str, str, int]]:
    """``data`` cut up: (``"z"`` deflated or ``"w"`` plain, base64, bytes of ``data``) each.

    Each base64 has at most ``limit_chars`` characters and holds as much as fits.
    """
    at = 0
    while at < len(data):
        size = min(limit_chars // 4 * 3, len(data) - at)
        kind, content = "w", data[at : at + size]
        if deflate:
            # The longest prefix that fits, found by halving; its size grows with the prefix.
            low, high = 0, min(_PIECE_BYTES, len(data) - at)
            while low < high:
                middle = (low + high + 1) // 2
                if _chars(len(_deflated(data[at : at + middle]))) <= limit_chars:
                    low = middle
                else:
                    high = middle - 1
            packed = _deflated(data[at : at + low])
            if low > size or (low == size and len(packed) < size):
                kind, content, size = "z", packed, low
        yield kind, base64.b64encode(content).decode(), size
        at += size


class Uploader:
    """Writes files over one transport's ``exec``; see `Transport.write`."""

    def __init__(self, run: _Exec, board: str, piece_chars: int) -> None:
        self._run = run
        self._board = board
        self._piece_chars = piece_chars
        self._deflate: bool | None = None  # None until the receiver is on the board

    def _install(self) -> bool:
        """Define the receiver on the board, once a session; does it have ``deflate``?"""
        try:
            answer = self._run(_RECEIVER, doing="preparing the board for uploads")
        except KeyfobHostError as error:
            for module in ("hashlib", "binascii"):
                if f"'{module}'" in error.evidence:
                    raise failures.unsupported(f"module {module}", self._board) from None
            raise
        return answer.strip() == b"True"

    def write(self, path: str, data: bytes, progress: Progress | None = None) -> None:
        if self._deflate is None:
            self._deflate = self._install()
        digest = hashlib.sha256(data).hexdigest()
        doing = f"writing {path}"
        finish = f"_kf_c({path!r},'{digest}')"
        todo = list(pieces(data, self._piece_chars, deflate=self._deflate))
        code, done = f"_kf_o({path!r})", 0
        try:
            for number, (kind, text, size) in enumerate(todo, 1):
                code += f"\n_kf_{kind}('{text}')"
                if number < len(todo):
                    self._run(code, doing=doing)
                    code = "pass"
                done += size
                if progress is not None:
                    progress(done, len(data))
            # The last piece travels with the closing line: a small file is one round trip.
            seen = self._run(f"{code}\n{finish}", timeout_s=_HASH_TIMEOUT_S, doing=doing).strip()
        except KeyfobHostError as error:
            if error.code not in ("board.connection-lost", "board.no-answer"):
                self._discard(path)
            raise
        if seen.decode() != digest:
            raise KeyfobHostError(
                "board.write-corrupt",
                f"{path} did not reach the board as it was sent; the old file is still in place",
                evidence=f"SHA-256 sent {digest[:16]}…, on the board {seen.decode()[:16]}…",
                fix="check the cable and run the command again; or lower serial.baud",
                status=ExitStatus.BOARD,
            )

    def _discard(self, path: str) -> None:
        """Take the half-written file away, so that a full disk is not kept full by it."""
        code = (
            "try:_kf_f.close()\nexcept Exception:pass\n"
            f"try:os.remove({path + TEMPORARY!r})\nexcept OSError:pass"
        )
        with contextlib.suppress(KeyfobHostError):
            self._run(code, doing=f"removing {path}{TEMPORARY}")
