"""From paths to groups of files that belong together, and what each file is for.

A folder is an identity (`keyfob_host.pki.identity`), a CA's, a board's slot, or any other; a
mosquitto.conf stands for the files that it names; files given one by one are one group.
Folders in folders are entered, to a depth and a number that no bench reaches.
"""

from __future__ import annotations

import errno
import shlex
import stat
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from keyfob_host.errors import ExitStatus, KeyfobHostError, explain_os_error
from keyfob_host.lint.finding import Finding, Role, Severity
from keyfob_host.lint.mosquitto_conf import FILE_OPTIONS, Listener, find, read_conf
from keyfob_host.lint.reading import FileRead, read_file
from keyfob_host.lint.subjects import Use
from keyfob_host.printable import EVIDENCE_CHARS, printable

GroupKind = Literal["identity", "ca", "slot", "mosquitto", "loose"]
_IDENTITY: Mapping[str, Use] = {
    "chain.pem": "chain", "cert.pem": "certificate", "ca.pem": "anchors", "key.pem": "key",
}  # fmt: skip
_CA: Mapping[str, Use] = {"ca.cert.pem": "anchors", "ca.key.pem": "key"}
_CONF_USES: Mapping[str, Use] = {
    "cafile": "anchors", "certfile": "chain", "keyfile": "key", "crlfile": "crl",
}  # fmt: skip
_SUFFIXES = (
    ".pem", ".crt", ".cer", ".der", ".key", ".csr", ".req", ".crl", ".p8", ".pk8",
)  # fmt: skip
_CONF_SUFFIX = ".conf"
_READING = "read the file to check"
MISSING, UNREADABLE = "lint.file-missing", "lint.file-unreadable"
_MAX_DEPTH = 4
_MAX_FILES = 100_000


@dataclass(frozen=True)
class Source:
    """A file that was read, and what it is for."""

    read: FileRead
    use: Use


@dataclass
class Group:
    """``role``: of its end-entity, where the place says it. ``listener``: of a mosquitto.conf.
    ``unread``: findings of files that are not there or cannot be read."""

    kind: GroupKind
    path: Path
    role: Role | None = None
    sources: list[Source] = field(default_factory=list)
    listener: Listener | None = None
    unread: list[Finding] = field(default_factory=list)

    def add(self, path: Path, use: Use, *, must: bool = False) -> None:
        """Read a file into the group. Errors: ``file.*``, if it ``must`` be readable."""
        try:
            with explain_os_error(path, _READING):
                mode = path.stat().st_mode
                if not must and not stat.S_ISREG(mode):
                    # A pipe or a device that a configuration names would be waited for.
                    raise IsADirectoryError(errno.EISDIR, "no regular file", str(path))
            self.sources.append(Source(read_file(path), use))
        except KeyfobHostError as error:
            if must:
                raise
            self.cannot_read(path, error)

    def cannot_read(self, path: Path, error: KeyfobHostError) -> None:
        """Make a finding of it."""
        code, severity, fix = UNREADABLE, Severity.ERROR, error.fix
        if error.code == "file.missing":
            code = MISSING
        elif error.code == "file.no-permission":
            # Whoever it is for may read it; to make it this user's would be a fault.
            severity = Severity.WARNING
            given = shlex.quote(str(self.path))
            fix = f'ask as one who may: sudo -E "$(command -v keyfob)" cert check {given}'
        evidence = printable(error.evidence, limit=EVIDENCE_CHARS)
        self.unread.append(Finding(code, severity, error.cause, evidence, fix, str(path)))


def gather(paths: Iterable[Path]) -> list[Group]:
    """The groups of ``paths``, in their order.

    Errors: ``file.*`` for a path that is not there, ``lint.nothing-to-check``,
    ``lint.too-many-files``.
    """
    loose = Group("loose", Path())
    groups: list[Group] = []
    given = list(paths)
    for path in given:
        with explain_os_error(path, "look at what to check"):
            path.stat()
        if path.is_dir():
            groups += _of_folder(path, 0)
        elif path.suffix == _CONF_SUFFIX:
            groups += _of_conf(path)
        else:
            loose.add(path, "any", must=True)
        if sum(len(group.sources) for group in groups) > _MAX_FILES:
            raise _too_many(path)
    if loose.sources:
        loose.path = loose.sources[0].read.path
        groups.insert(0, loose)
    if not any(group.sources or group.unread or group.listener for group in groups):
        raise KeyfobHostError(
            "lint.nothing-to-check",
            "there is no certificate, key, request or revocation list",
            evidence=", ".join(map(str, given)) or "no path",
            fix=f"name the files: keyfob cert check {_example(given)}",
            status=ExitStatus.INPUT,
        )
    return groups


def _example(given: list[Path]) -> str:
    return shlex.quote(str(given[0] / "cert.pem")) if given else "cert.pem"


def _too_many(path: Path) -> KeyfobHostError:
    return KeyfobHostError(
        "lint.too-many-files",
        "there are more files than can be checked at once",
        evidence=f"{path}: more than {_MAX_FILES}",
        fix=f"name a folder in it: ls {shlex.quote(str(path))}",
    )


def _of_folder(folder: Path, depth: int) -> Iterator[Group]:
    with explain_os_error(folder, "look into the folder"):
        entries = sorted(one for one in folder.iterdir() if not one.name.startswith("."))
        files = {one.name: one for one in entries if one.is_file()}
    if len(files) > _MAX_FILES:
        raise _too_many(folder)
    configured = [
        group for path in files.values() if path.suffix == _CONF_SUFFIX
        for group in _tolerant(path, _of_conf(path))
    ]  # fmt: skip
    named = {source.read.path.absolute() for group in configured for source in group.sources}
    group = _group_of(folder, files)
    known = _uses(group.kind, files)
    for name, use in known.items():
        group.add(files[name], use)
    for name, path in files.items():
        is_told = name in known or path.absolute() in named
        if not is_told and path.suffix.lower() in _SUFFIXES:
            group.add(path, "any")
    if group.sources or group.unread:
        yield group
    yield from configured
    for entry in entries:
        if depth < _MAX_DEPTH and entry.is_dir() and not entry.is_symlink():
            yield from _tolerant(entry, _of_folder(entry, depth + 1))


def _tolerant(path: Path, groups: Iterator[Group]) -> Iterator[Group]:
    """``groups``; what cannot be read of a folder's content stops nothing."""
    try:
        yield from groups
    except KeyfobHostError as error:
        unread = Group("loose", path)
        unread.cannot_read(path, error)
        yield unread


def _group_of(folder: Path, files: Mapping[str, Path]) -> Group:
    if {"cert.pem", "chain.pem"} <= set(files):
        parent = folder.absolute().parent.name
        role: Role | None = "broker" if parent == "broker" else None
        return Group("identity", folder, "device" if parent == "device" else role)
    if "ca.cert.pem" in files:
        return Group("ca", folder, "ca")
    if {"cert.der", "ca.der"} <= set(files):
        return Group("slot", folder, "device")
    return Group("loose", folder)


def _uses(kind: GroupKind, files: Mapping[str, Path]) -> dict[str, Use]:
    """What the files of a known folder are for, in the order in which they are told."""
    if kind == "slot":
        slot: dict[str, Use] = dict.fromkeys(_numbered("cert", files), "chain")
        slot.update(dict.fromkeys(_numbered("ca", files), "anchors"))
        return {**slot, "key.der": "key"} if "key.der" in files else slot
    known = _IDENTITY if kind == "identity" else _CA if kind == "ca" else {}
    return {name: use for name, use in known.items() if name in files}


def _numbered(stem: str, files: Mapping[str, Path]) -> list[str]:
    """``cert.der``, ``cert1.der`` …, as `keyfob.identity` of the firmware names them."""
    names = [f"{stem}{number or ''}.der" for number in range(10)]
    return [name for name in names if name in files]


def _of_conf(conf: Path) -> Iterator[Group]:
    for listener in read_conf(conf):
        group = Group("mosquitto", conf, "broker", listener=listener)
        for option in FILE_OPTIONS:
            if option in listener.options:
                group.add(find(conf, listener.options[option]), _CONF_USES[option])
        yield group
