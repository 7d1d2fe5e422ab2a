"""A tap on a board's serial line, and the question whether a secret went over it.

Looked for is not one spelling of the secret but any eight of its bytes one behind the
other: as they are, in hexadecimal, escaped as Python writes bytes, and in base64 at each
alignment; what was deflated is inflated first. That it finds a key that is sent is for
its own tests.
"""

from __future__ import annotations

import base64
import contextlib
import re
import zlib
from collections.abc import Iterator
from dataclasses import replace

import pytest

from keyfob_host import relay_link
from keyfob_host.boards import BoardRef
from keyfob_host.relay import TcpRelay

WINDOW_BYTES = 8


@contextlib.contextmanager
def tapped(ref: BoardRef, patch: pytest.MonkeyPatch) -> Iterator[tuple[BoardRef, TcpRelay]]:
    """The board behind a relay that keeps every byte; see `taken`."""
    assert ref.virtual is not None
    patch.setattr(relay_link, "_HEAD_BYTES", 1 << 30)
    host, _, port = str(ref.virtual.info()["socket_url"]).removeprefix("socket://").partition(":")
    with TcpRelay((host, int(port))) as tap:
        yield replace(ref, port=f"socket://127.0.0.1:{tap.port}"), tap


def taken(tap: TcpRelay) -> list[bytes]:
    """What passed in each direction of each connection, to the last byte."""
    parts = [bytes(head) for one in tap.connections for head in one.head.values()]
    assert sum(map(len, parts)) == tap.bytes_passed("up") + tap.bytes_passed("down") > 0
    return parts


def shows(secret: bytes, data: bytes) -> bool:
    """Whether eight bytes in a row of ``secret`` are somewhere in ``data``."""
    windows = [secret[at : at + WINDOW_BYTES] for at in range(len(secret) - WINDOW_BYTES + 1)]
    if str(int.from_bytes(secret, "big")).encode() in data:
        return True
    return any(window in view for view in _views(data) for window in windows)


def _views(data: bytes) -> Iterator[bytes]:
    yield data
    yield re.sub(rb"\\x([0-9a-fA-F]{2})", lambda found: bytes.fromhex(found[1].decode()), data)
    for run in re.findall(rb"[0-9a-fA-F]{16,}", data):
        for start in (0, 1):
            text = run[start:].decode()
            yield bytes.fromhex(text[: len(text) // 2 * 2])
    # Lines of base64 go on in the next line.
    joined = re.sub(rb"(?<=[A-Za-z0-9+/])\r?\n(?=[A-Za-z0-9+/])", b"", data)
    for run in {*re.findall(rb"[A-Za-z0-9+/]{12,}", data + b" " + joined)}:
        for start in range(4):
            text = run[start:]
            decoded = base64.b64decode(text[: len(text) // 4 * 4] + _rest(text))
            yield decoded
            yield _inflated(decoded)


def _rest(text: bytes) -> bytes:
    """The last group, padded; one character alone says nothing."""
    rest = text[len(text) // 4 * 4 :]
    return rest + b"=" * (4 - len(rest)) if len(rest) > 1 else b""


def _inflated(data: bytes) -> bytes:
    with contextlib.suppress(zlib.error):
        return zlib.decompressobj(-15).decompress(data)
    return b""
