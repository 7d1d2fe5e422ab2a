"""The files of what was given, sorted by what they hold and not by their names.

Folders in folders are entered, to a depth and a number that no bench reaches; links to
folders, what is hidden (but a bench's own folder), devices, pipes and sockets are not. Of a log
that is larger than is read at once the end counts. What is none of these things (sources,
images, captures) is passed over.
"""

from __future__ import annotations

import json
import re
import shlex
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from keyfob_host.errors import ExitStatus, KeyfobHostError, explain_os_error
from keyfob_host.files import MAX_TEXT_BYTES

MOST_FILES = 5000
MOST_LOG_BYTES = 8 << 20
_MOST_DEPTH = 8
_HEAD_BYTES = 1 << 16

Kind = Literal["pki", "conf", "tap", "log"]

_PKI_ENDS = (
    ".pem", ".crt", ".cer", ".der", ".key", ".csr", ".req", ".crl", ".p8", ".pk8",
)  # fmt: skip
# What is found in a folder is taken for a log by its content only under such a name: sources and
# documents quote logs.
_LOG_NAME = re.compile(r"(?:[^.]+|.*\.(?:log|txt|out|err|jsonl|console|old|\d{1,8})(?:\.\d{1,8})?)")
_NEVER = (".py", ".mpy", ".md", ".toml", ".json", ".html", ".pcap", ".pcapng", ".bin", ".img")
# A console has what uploads and resets leave on the line, and may be half of that.
_LOG_ENDS = (".log", ".txt", ".out", ".console")
_BENCH = ".keyfob"
_TEXT = bytes((9, 10, 13, 27, *range(32, 127)))
_BEGIN = re.compile(rb"\A(?:\xef\xbb\xbf)?\s*(?:-----BEGIN |Certificate(?: Request| Revocation "
                    rb"List \(CRL\))?:\r?\n)")  # fmt: skip
_CONF_LINE = re.compile(
    r"^[ \t]*(?:listener|port|cafile|capath|certfile|keyfile|crlfile|require_certificate|"
    r"allow_anonymous|use_identity_as_username|per_listener_settings|tls_version|include_dir|"
    r"acl_file|password_file|log_dest|log_type)[ \t]+\S",
    re.MULTILINE,
)
_BROKER_LINE = re.compile(
    r"mosquitto version \d|New connection from |New client connected from |OpenSSL Error|"
    r"listen socket on port|Client \S{1,80} (?:disconnected|already connected|has exceeded)|"
    r"Socket error on client|Config loaded from|Sending CONNACK to|Reloading config|"
    r"Denied PUBLISH|^(?:\d{9,11}: )?Error: ",
    re.MULTILINE,
)
_CONSOLE_LINE = re.compile(
    r"kf \{\"t\":|Traceback \(most recent call last\)|rst:0x[0-9a-f]{1,2}|rst cause:\d|"
    r"MicroPython v\d|MPY: soft reboot|invalid header: 0x|\w{2,30}Error: |OSError\(|"
    r"MQTTException|Brownout detector",
)


@dataclass
class LogFile:
    """A log's text. ``is_cut``: only its end was read."""

    path: Path
    kind: Kind
    text: str
    is_cut: bool = False


@dataclass
class Given:
    """What was found; ``unread``: what was left out, and why."""

    pki: list[Path] = field(default_factory=list)
    confs: list[Path] = field(default_factory=list)
    logs: list[LogFile] = field(default_factory=list)
    unread: list[str] = field(default_factory=list)
    passed_over: int = 0


def gather(paths: Iterable[Path]) -> Given:
    """Sort them. Errors: ``file.*`` for a path that is not there, ``doctor.nothing-to-read``."""
    given = Given()
    named = list(paths)
    seen: set[Path] = set()
    for path in named:
        with explain_os_error(path, "look at what to diagnose"):
            is_folder = path.is_dir()
            path.stat()
        for one in _walk(path, 0, given) if is_folder else (path,):
            real = one.absolute()
            if real not in seen and len(seen) < MOST_FILES:
                seen.add(real)
                _take(one, given, is_named=not is_folder)
            elif real not in seen:
                given.unread.append(f"{path}: more than {MOST_FILES} files; name a folder in it")
                break
    if not (given.pki or given.confs or given.logs):
        shown = shlex.quote(str(named[0])) if named else "."
        raise KeyfobHostError(
            "doctor.nothing-to-read",
            "there is no certificate, key, mosquitto configuration or log",
            evidence="; ".join(given.unread[:3]) or f"{given.passed_over} files of other kinds",
            fix=f"look what is there: ls -la {shown}",
            status=ExitStatus.INPUT,
        )
    return given


def _walk(folder: Path, depth: int, given: Given) -> Iterator[Path]:
    try:
        entries = sorted(folder.iterdir())
    except OSError as error:
        given.unread.append(f"{folder}: {error.strerror}")
        return
    for entry in entries:
        try:
            if entry.name.startswith(".") and entry.name != _BENCH:
                continue
            if entry.is_dir():
                if depth < _MOST_DEPTH and not entry.is_symlink():
                    yield from _walk(entry, depth + 1, given)
            elif stat.S_ISREG(entry.stat().st_mode):
                yield entry
        except OSError as error:
            given.unread.append(f"{entry}: {error.strerror}")


def _take(path: Path, given: Given, *, is_named: bool) -> None:
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            given.unread.append(f"{path}: no regular file")
            return
        with path.open("rb") as file:
            size = path.stat().st_size
            head = file.read(_HEAD_BYTES)
            kind = _kind(path, head, size)
            if kind is None and size > _HEAD_BYTES and (_is_text(head) or path.suffix in _LOG_ENDS):
                file.seek(max(0, size - _HEAD_BYTES))
                kind = _kind(path, file.read(_HEAD_BYTES), size)
            if kind in ("log", "tap") and not (is_named or _LOG_NAME.fullmatch(path.name)):
                kind = None
            if kind is None:
                given.passed_over += 1
                if is_named:
                    given.unread.append(f"{path}: nothing in it that is known here")
            elif kind == "pki":
                given.pki.append(path)
            elif kind == "conf":
                given.confs.append(path)
            else:
                file.seek(max(0, size - MOST_LOG_BYTES))
                text = _text(file.read(MOST_LOG_BYTES))
                given.logs.append(LogFile(path, kind, text, size > MOST_LOG_BYTES))
    except OSError as error:
        given.unread.append(f"{path}: {error.strerror}")


def _text(content: bytes) -> str:
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):  # as PowerShell's > writes
        return content.decode("utf-16", "replace")
    return content.decode("utf-8", "replace").removeprefix("\ufeff")


def _is_text(content: bytes) -> bool:
    """Nearly all of it."""
    return len(content.translate(None, _TEXT)) <= len(content) // 10


def _kind(path: Path, head: bytes, size: int) -> Kind | None:
    end = path.suffix.lower()
    is_small = size <= MAX_TEXT_BYTES
    if end in _PKI_ENDS or _BEGIN.match(head) or _is_der(head, size):
        return "pki" if is_small and end not in _NEVER else None
    if end in _NEVER:
        return None
    text = _text(head)
    is_text = _is_text(head) or head[:2] in (b"\xff\xfe", b"\xfe\xff")
    if not is_text and end not in _LOG_ENDS:
        return None
    if _is_tap(text):
        return "tap"
    if end == ".conf" or not _BROKER_LINE.search(text):
        if len(_CONF_LINE.findall(text)) >= (1 if end == ".conf" else 2) and is_small:
            return "conf"
        if end == ".conf":
            return None
    return "log" if _BROKER_LINE.search(text) or _CONSOLE_LINE.search(text) else None


def _is_der(head: bytes, size: int) -> bool:
    """A SEQUENCE that is as long as the file (X.690 section 8.1)."""
    if head[:1] != b"\x30" or len(head) < 4 or head[1] not in (0x81, 0x82):
        return False
    count = head[1] & 0x7F
    return int.from_bytes(head[2 : 2 + count], "big") + 2 + count == size


def _is_tap(text: str) -> bool:
    line = next((one for one in text.splitlines() if one.strip()), "")
    if not line.startswith("{"):
        return False
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return False
    return isinstance(found, dict) and "connection" in found and "what" in found
