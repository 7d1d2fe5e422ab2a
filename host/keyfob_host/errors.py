"""The one host exception: every failure a person sees has cause, evidence and fix.

Device errors are ``firmware/keyfob/errors.py``; this is the host's side. A code is
a slug with the place as prefix (``ca.``, ``cert.``, ``broker.``, ``board.``,
``flash.``, ``sync.``, ``provision.``, ``port.``, ``file.``, ``host.``).
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path


class ExitStatus(IntEnum):
    """What kind of failure it was, as the process's exit status."""

    INTERNAL = 1  # a defect of Keyfob itself
    USAGE = 2  # the command line (click's own number)
    INPUT = 3  # a file or value given to the command is missing or wrong
    HOST = 4  # this machine: program missing, no permission, disk full, port taken
    BOARD = 5  # the board: not answering, wrong chip, wrong firmware
    IDENTITY = 6  # certificates and keys
    NETWORK = 7  # broker, network, time
    TESTS = 8  # a suite ran and something in it failed
    EXPIRING = 9  # no failure: a certificate or a CRL ends soon
    NOT_KNOWN = 10  # no failure: the doctor has no explanation
    INTERRUPTED = 130  # Ctrl-C


@dataclass(frozen=True)
class Remark:
    """What was found out about an error once it was there.

    ``lines`` are shown to people behind ``label``; ``data`` goes under ``key`` of the
    ``--json`` shape.
    """

    label: str
    lines: tuple[str, ...]
    key: str
    data: dict[str, object]


class KeyfobHostError(Exception):
    """A failure to be shown to a person.

    ``code``      stable slug, for scripts and tests
    ``cause``     one sentence: what is wrong
    ``evidence``  what was seen, with the values compared and where ("" if the cause says it)
    ``fix``       what to do; a command that can be pasted wherever one exists
    ``status``    exit status of the command
    ``remarks``   what was found out about it afterwards, none of it needed to understand it
    """

    def __init__(
        self,
        code: str,
        cause: str,
        *,
        fix: str,
        evidence: str = "",
        status: ExitStatus = ExitStatus.INPUT,
    ) -> None:
        super().__init__(f"{code}: {cause}")
        self.code = code
        self.cause = cause
        self.evidence = evidence
        self.fix = fix
        self.status = status
        self.remarks: list[Remark] = []

    def as_dict(self) -> dict[str, object]:
        """The ``--json`` shape of the error."""
        return {
            **{remark.key: remark.data for remark in self.remarks},
            "code": self.code,
            "cause": self.cause,
            "evidence": self.evidence,
            "fix": self.fix,
            "status": int(self.status),
        }


@contextmanager
def explain_os_error(path: Path | str, doing: str) -> Iterator[None]:
    """Turn an ``OSError`` on ``path`` into the error a person can act on.

    ``doing`` completes the sentence "cannot …", for example ``"read the CA key"``.
    """
    try:
        yield
    except OSError as error:
        raise from_os_error(error, path, doing) from error


def from_os_error(error: OSError, path: Path | str, doing: str) -> KeyfobHostError:
    """The `KeyfobHostError` for an ``OSError``; see `explain_os_error`."""
    folder = Path(path).parent
    code, cause, fix, status = {
        errno.ENOENT: (
            "file.missing",
            "the file is not there",
            "check the path: ls -l {folder}",
            ExitStatus.INPUT,
        ),
        errno.EACCES: _NO_PERMISSION,
        errno.EPERM: _NO_PERMISSION,
        errno.ENOSPC: _DISK_FULL,
        errno.EDQUOT: _DISK_FULL,
        errno.EROFS: (
            "host.read-only",
            "the file system is read-only",
            "export KEYFOB_HOME=$HOME/keyfob-bench  # a folder that can be written",
            ExitStatus.HOST,
        ),
        errno.EISDIR: _NOT_A_FILE,
        errno.ENOTDIR: _NOT_A_FILE,
        errno.EEXIST: _NOT_A_FILE,
    }.get(error.errno or 0, ("host.os-error", "", "ls -ld {path}", ExitStatus.HOST))
    return KeyfobHostError(
        code,
        f"cannot {doing}: {cause}" if cause else f"cannot {doing}",
        evidence=f"{path}: {error.strerror or error}, as uid {os.getuid()}",
        fix=fix.format(path=path, folder=folder),
        status=status,
    )


_NO_PERMISSION = (
    "file.no-permission",
    "this user may not",
    "ls -ld {path}; sudo chown $USER {path}",
    ExitStatus.HOST,
)
_DISK_FULL = (
    "host.disk-full",
    "no space left",
    "df -h {folder}; free some space, run the command again",
    ExitStatus.HOST,
)
_NOT_A_FILE = (
    "file.not-a-file",
    "a folder stands where a file is wanted, or the reverse",
    "ls -ld {path}",
    ExitStatus.INPUT,
)
