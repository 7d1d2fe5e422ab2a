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
    INTERRUPTED = 130  # Ctrl-C


class KeyfobHostError(Exception):
    """A failure to be shown to a person.

    ``code``      stable slug, for scripts and tests
    ``cause``     one sentence: what is wrong
    ``evidence``  what was seen, with the values compared and where ("" if the cause says it)
    ``fix``       what to do; a command that can be pasted wherever one exists
    ``status``    exit status of the command
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

    def as_dict(self) -> dict[str, object]:
        """The ``--json`` shape of the error."""
        return {
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
    where = f"{path}: {error.strerror or error}"
    number = error.errno
    if number == errno.ENOENT:
        return KeyfobHostError(
            "file.missing", f"cannot {doing}: the file is not there",
            evidence=where, fix=f"check the path: ls -l {Path(path).parent}",
        )  # fmt: skip
    if number in (errno.EACCES, errno.EPERM):
        return KeyfobHostError(
            "file.no-permission", f"cannot {doing}: this user may not",
            evidence=f"{where} (running as uid {os.getuid()})",
            fix=f"ls -ld {path}; sudo chown $USER {path}",
            status=ExitStatus.HOST,
        )  # fmt: skip
    if number in (errno.ENOSPC, errno.EDQUOT):
        return KeyfobHostError(
            "host.disk-full", f"cannot {doing}: no space left",
            evidence=where, fix=f"df -h {Path(path).parent}, free some space, run the command again",
            status=ExitStatus.HOST,
        )  # fmt: skip
    if number == errno.EROFS:
        return KeyfobHostError(
            "host.read-only", f"cannot {doing}: the file system is read-only",
            evidence=where, fix="set KEYFOB_HOME to a folder that can be written",
            status=ExitStatus.HOST,
        )  # fmt: skip
    if number in (errno.EISDIR, errno.ENOTDIR):
        return KeyfobHostError(
            "file.not-a-file", f"cannot {doing}: a folder stands where a file is wanted, or the other way round",
            evidence=where, fix=f"ls -ld {path}",
        )  # fmt: skip
    return KeyfobHostError(
        "host.os-error", f"cannot {doing}", evidence=where,
        fix=f"ls -ld {path}", status=ExitStatus.HOST,
    )  # fmt: skip
