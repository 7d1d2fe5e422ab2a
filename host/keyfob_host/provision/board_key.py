"""A key that the board makes and keeps: what is asked of its firmware, and its answers judged.

Over the wire come requests and digests; a key never does, in neither direction. The
work is done by ``firmware/keyfob/key_maker.py``; what it refuses is told as the board
tells it, with cause and fix from ``errors.txt``. What a request says is judged here:
its signature, whose name it bears and what key it is for. That the board did make the
key itself is not to be seen from outside.
"""

from __future__ import annotations

import ast
import binascii
from dataclasses import dataclass

from keyfob_host.boards import DEFAULT_KIND
from keyfob_host.device_errors import load_device_errors
from keyfob_host.errors import ExitStatus, KeyfobHostError
from keyfob_host.pki.request import CertificateRequest, read_request
from keyfob_host.printable import EVIDENCE_CHARS, printable
from keyfob_host.transport import Transport

# An ESP8266 at 80 MHz takes some 5 seconds (3 to 9), by the 140 million instructions of
# tools/RESULTS_CRYPTO.md and the price of one in tools/RESULTS_TLS.md.
_MAKE_TIMEOUT_S = 120.0
_CHECK_TIMEOUT_S = 60.0
_MOST_SLOTS = 16

# What was loaded is forgotten: an ESP8266 has no heap for all of it at once.
_CALL = """\
import binascii,gc,sys
try:
 from keyfob import key_maker
except ImportError as e:
 print('-',e)
else:
 try:
  for p in key_maker.{call} or ():
   print(binascii.b2a_base64(p).decode(),end='')
 except Exception as e:
  if not hasattr(e,'detail'):raise
  print('!',repr((e.code,e.detail)))
 for n in list(sys.modules):
  if n.startswith('keyfob'):del sys.modules[n]
 del key_maker
gc.collect()
"""

_SERIAL = "''.join('%02x'%b for b in __import__('machine').unique_id())"

_ELEMENT = """\
import binascii,hashlib
try:
 import keyfob_element as d
except ImportError:
 print('-')
else:
 {action}
 for s in d.slots:
  k=d.key(s)
  p=k.public_key()
  print(s,int(k.is_locked()),binascii.hexlify(hashlib.sha256(p).digest()).decode() if p else '-')
"""


@dataclass(frozen=True)
class BoardKey:
    """A key on the board. ``digest``: SHA-256 of its file, as the board worked it out;
    ``request``: what it signed."""

    slot: str
    digest: str
    request: CertificateRequest


@dataclass(frozen=True)
class ElementSlot:
    """A slot of a board's secure element. ``key_sha256``: of its public key, or None."""

    number: int
    is_locked: bool
    key_sha256: str | None


def serial_number(board: Transport) -> str:
    """The chip's own number in hexadecimal, which also its events carry."""
    return str(board.eval(_SERIAL))


def make_key(
    board: Transport, slot: str, device_id: str, *, element: int | None, is_new: bool
) -> BoardKey:
    """Have the board make a key for its inactive ``slot``; what stood there is gone.

    ``element``: a slot of its secure element, whose key is used unless there is none or
    ``is_new`` asks for another. Errors: ``provision.firmware-too-old``, those of
    `read_request`, ``provision.wrong-request``, and the board's own.
    """
    call = f"start({slot!r},{device_id!r},{-1 if element is None else element},{is_new})"
    answer = _call(board, call, "making a key", _MAKE_TIMEOUT_S)
    return _judge(answer, slot, device_id)


def keep_key(board: Transport, slot: str, device_id: str) -> BoardKey:
    """Have the board use the key of its active slot in ``slot`` too. Errors as `make_key`."""
    answer = _call(board, f"keep({slot!r},{device_id!r})", "copying its key", _MAKE_TIMEOUT_S)
    return _judge(answer, slot, device_id)


def waiting_key(board: Transport, slot: str, device_id: str) -> BoardKey | None:
    """The key in ``slot`` that has no certificate yet; None if there is none. Errors as
    `make_key`."""
    call = f"waiting({slot!r},{device_id!r})"
    answer = _call(board, call, "asking for its key", _MAKE_TIMEOUT_S)
    return _judge(answer, slot, device_id) if answer else None


def check_slot(board: Transport, slot: str, device_id: str) -> None:
    """Have the board load ``slot`` as at its next start, key and certificate a pair."""
    _call(board, f"check({slot!r},{device_id!r})", "loading its new identity", _CHECK_TIMEOUT_S)


def element_slots(board: Transport, *, lock: bool = False) -> list[ElementSlot]:
    """What the board's secure element says of itself; with ``lock``, after locking it.

    Error: ``provision.no-element``.
    """
    doing = "locking its secure element" if lock else "asking its secure element"
    code = _ELEMENT.format(action="d.lock()" if lock else "pass")
    lines = board.exec(code, timeout_s=_CHECK_TIMEOUT_S, doing=doing).decode().splitlines()
    if lines == ["-"]:
        raise _as_told(board, "store.no-element", "no module keyfob_element")
    found = [line.split() for line in lines[:_MOST_SLOTS]]
    return [
        ElementSlot(int(number), locked == "1", None if key == "-" else key)
        for number, locked, key in found
    ]


def _call(board: Transport, call: str, doing: str, timeout_s: float) -> list[bytes]:
    """What the board's function returned, or its error."""
    answer = board.exec(_CALL.format(call=call), timeout_s=timeout_s, doing=doing).decode()
    if answer.startswith("-"):
        raise KeyfobHostError(
            "provision.firmware-too-old",
            "the board's firmware cannot make a key: it is older than this tool, or not there",
            evidence=printable(answer.removeprefix("-").strip(), limit=EVIDENCE_CHARS),
            fix="keyfob sync, then run the same command again", status=ExitStatus.BOARD,
        )  # fmt: skip
    if answer.startswith("!"):
        raise _as_told(board, *ast.literal_eval(answer.removeprefix("!").strip()))
    return [binascii.a2b_base64(line) for line in answer.split()]


def _as_told(board: Transport, code: str, detail: str) -> KeyfobHostError:
    """The board's error as the board tells it, from the same table; a command for its kind."""
    known, shown = load_device_errors().get(code), printable(detail, limit=EVIDENCE_CHARS)
    if known is None:
        return KeyfobHostError(
            code, "the board refuses, in words that this tool does not know",
            evidence=shown, fix="bring both to one version: keyfob sync", status=ExitStatus.BOARD,
        )  # fmt: skip
    fix = known.fix
    if fix.startswith("keyfob ") and board.board != DEFAULT_KIND:
        where = "" if "virtual" in board.board else f" --port {board.url}"
        command, comma, rest = fix.partition(",")
        fix = f"{command} --board {board.board}{where}{comma}{rest}"
    return KeyfobHostError(
        code, known.cause.removesuffix("."), evidence=shown, fix=fix, status=ExitStatus.BOARD
    )  # fmt: skip


def _judge(answer: list[bytes], slot: str, device_id: str) -> BoardKey:
    der, digest = answer
    request = read_request(der, source="the board's request")
    if (request.name, request.key_type) != (device_id, "p256"):
        raise KeyfobHostError(
            "provision.wrong-request", "the board's request is not the one that was asked for",
            evidence=f"CN {request.name}, key {request.key_type}; asked for: {device_id}, p256",
            fix="keyfob sync, then run the same command again", status=ExitStatus.BOARD,
        )  # fmt: skip
    return BoardKey(slot, digest.hex(), request)
