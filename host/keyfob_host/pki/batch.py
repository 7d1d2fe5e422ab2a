"""Thousands of device identities: made by several processes, each whole or absent.

An identity is written into a temporary folder, a few hundred of them are brought to the
disk together, and only then does each get its name. Whatever ends the work, Ctrl-C, SIGKILL
or the loss of power, a folder that has its name is complete; a next run finds what is
there and makes the rest. One `syncfs` a chunk takes the place of five `fsync` an
identity, which alone would be slower than all the cryptography.

The CA's key reaches the worker processes through the pipe by which they are started
(`multiprocessing`, spawn) and nothing else: no argument, no environment, no file. A key
that cannot leave where it is, in a token, signs in this process alone. Which ids are good
is judged before the first is made; what the profile makes of them, as they are made.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from multiprocessing import get_context, resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_der_private_key,
)

from keyfob_host.errors import ExitStatus, KeyfobHostError, explain_os_error
from keyfob_host.pki.authority import Authority
from keyfob_host.pki.folder import remove_remains, sync_folder
from keyfob_host.pki.identity import Identity
from keyfob_host.pki.inventory_disk import stamp_of
from keyfob_host.pki.inventory_row import Row, certificate_row
from keyfob_host.pki.keys import PrivateKey
from keyfob_host.pki.profiles import Profile

# A chunk's identities become durable together; with more of them a sync costs less each,
# and what is under way when a worker is killed is more.
CHUNK = 500
_STAGING = "batch"  # .batch.PID-…, as `folder.write_folder` names what is not whole yet
_LAST_CHUNK_TIMEOUT_S = 60.0


@dataclass(frozen=True)
class Order:
    """What to make, and where. ``folder_prefix``: how the inventory names ``parent``."""

    parent: Path
    folder_prefix: str
    profile: Profile
    profile_name: str
    key_type: str | None
    days: int | None


@dataclass(frozen=True)
class _Signer:
    """An `Authority` in a form that can be sent through a pipe."""

    cert: bytes
    root: bytes | None
    others: tuple[bytes, ...]
    key: bytes

    def authority(self) -> Authority:
        key = load_der_private_key(self.key, None)
        assert isinstance(key, PrivateKey)  # noqa: S101 - it was one when it was sent
        root = None if self.root is None else x509.load_der_x509_certificate(self.root)
        cert = x509.load_der_x509_certificate(self.cert)
        others = tuple(map(x509.load_der_x509_certificate, self.others))
        return Authority(cert=cert, key=key, root=root, others=others)


def make_batch(
    authority: Authority, order: Order, ids: Sequence[str], jobs: int
) -> Iterator[list[Row]]:
    """Make the identities ``ids``; yields the inventory's rows of each chunk that is on disk.

    An id whose folder appeared in the meantime is left out. After Ctrl-C what is under
    way is finished and yielded, then `KeyboardInterrupt` goes on. Errors: ``cert.*``,
    ``file.*``, ``host.*``; what was yielded stands.
    """
    with explain_os_error(order.parent, "make the folder for identities"):
        order.parent.mkdir(parents=True, exist_ok=True)
    remove_remains(order.parent / _STAGING)
    chunks = [ids[start : start + CHUNK] for start in range(0, len(ids), CHUNK)]
    signer = _sendable(authority)
    if signer is None or min(jobs, len(chunks)) < 2:
        for chunk in chunks:
            yield _make_chunk(authority, order, chunk)
        return
    workers = _Workers(signer, order, min(jobs, len(chunks)))
    try:
        yield from workers.run(chunks)
    finally:
        workers.end()


class _Workers:
    """Processes that make chunks, one chunk each at a time."""

    def __init__(self, signer: _Signer, order: Order, count: int) -> None:
        self._processes: dict[Connection, SpawnProcess] = {}
        context = get_context("spawn")
        # A terminal sends Ctrl-C to all of them. It is for this process to say how the
        # work ends, so they are started, and stay, with it blocked. `multiprocessing`
        # starts a process of its own first, and unblocks it again after that.
        resource_tracker.ensure_running()
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            for _ in range(count):
                ours, theirs = context.Pipe()
                process = context.Process(target=_work, args=(theirs, signer, order), daemon=True)
                process.start()
                theirs.close()
                self._processes[ours] = process
        except BaseException:
            self.end()
            raise
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def run(self, chunks: Sequence[Sequence[str]]) -> Iterator[list[Row]]:
        """The rows of each chunk as it is done; see `make_batch` for Ctrl-C."""
        waiting = iter(chunks)
        busy: set[Connection] = set()
        interrupted = False
        idle = list(self._processes)
        while True:
            try:
                while idle and not interrupted and (chunk := next(waiting, None)) is not None:
                    idle[-1].send(chunk)
                    busy.add(idle.pop())
                if not busy:
                    break
                ready = wait(busy, _LAST_CHUNK_TIMEOUT_S if interrupted else None)
            except KeyboardInterrupt:
                if interrupted:
                    raise  # twice: then at once
                interrupted = True
                continue
            if not ready:
                break
            for connection in ready:
                assert isinstance(connection, Connection)  # noqa: S101 - `wait` gives ours back
                busy.discard(connection)
                idle.append(connection)
                yield _received(connection)
        if interrupted:
            raise KeyboardInterrupt

    def end(self) -> None:
        """Let the workers go; one that does not is ended."""
        for connection in self._processes:
            connection.close()
        for process in self._processes.values():
            process.join(_LAST_CHUNK_TIMEOUT_S)
            if process.is_alive():
                process.kill()
                process.join()


def _received(connection: Connection) -> list[Row]:
    try:
        answer = connection.recv()
    except (EOFError, ConnectionError):
        raise KeyfobHostError(
            "cert.worker-ended",
            "a process that made identities ended by itself; memory may have run out",
            fix="run the same command again, perhaps with --jobs 1: it goes on where this one "
            "stopped",
            status=ExitStatus.HOST,
        ) from None
    if isinstance(answer, dict):
        answer["status"] = ExitStatus(answer["status"])
        raise KeyfobHostError(answer.pop("code"), answer.pop("cause"), **answer)
    return list(answer)


def _work(connection: Connection, signer: _Signer, order: Order) -> None:
    """A worker's life: chunks in, rows or an error out, until the pipe is closed."""
    authority = signer.authority()
    with contextlib.suppress(EOFError, ConnectionError):
        while True:
            chunk = connection.recv()
            try:
                answer: object = _make_chunk(authority, order, chunk)
            except KeyfobHostError as error:
                answer = error.as_dict()
            connection.send(answer)


def _make_chunk(authority: Authority, order: Order, ids: Sequence[str]) -> list[Row]:
    with explain_os_error(order.parent, "write identities"):
        prefix = f".{_STAGING}.{os.getpid()}-"
        staging = Path(tempfile.mkdtemp(prefix=prefix, dir=order.parent))
        try:
            made: list[tuple[str, Row]] = []
            for device_id in ids:
                issued = authority.issue_device(
                    device_id, profile=order.profile, key_type=order.key_type, days=order.days
                )
                stamp = _write(staging / device_id, issued)
                made.append((device_id, _row(authority, order, device_id, issued, stamp)))
            _sync_all(staging)
            rows = [row for device_id, row in made if _take_name(staging, order.parent, device_id)]
            sync_folder(order.parent)
            return rows
        finally:
            shutil.rmtree(staging, ignore_errors=True)


def _row(authority: Authority, order: Order, device_id: str, issued: Identity, stamp: str) -> Row:
    return certificate_row(
        issued.cert, "device", folder=f"{order.folder_prefix}/{device_id}", stamp=stamp,
        profile=order.profile_name, issuer=authority.cert,
    )  # fmt: skip


def _write(folder: Path, issued: Identity) -> str:
    """The identity's files, not synced; returns the stamp of its certificate."""
    folder.mkdir(mode=0o700)
    stamp = ""
    for name, (content, mode) in issued.files().items():
        handle = os.open(f"{folder}/{name}", os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        try:
            os.fchmod(handle, mode)
            view = memoryview(content)
            while view:
                view = view[os.write(handle, view) :]
            if name == "cert.pem":
                stamp = stamp_of(os.fstat(handle))
        finally:
            os.close(handle)
    return stamp


def _take_name(staging: Path, parent: Path, device_id: str) -> bool:
    """Give an identity its folder's name; False if another process had it first."""
    try:
        (staging / device_id).rename(parent / device_id)
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
            return False
        raise
    return True


def _sync_all(folder: Path) -> None:
    """All that was written to the file system of ``folder`` is on the disk afterwards."""
    libc = ctypes.CDLL(None, use_errno=True)
    if hasattr(libc, "syncfs"):  # Linux
        handle = os.open(folder, os.O_RDONLY)
        try:
            if libc.syncfs(handle) != 0:
                number = ctypes.get_errno()
                raise OSError(number, os.strerror(number), str(folder))
        finally:
            os.close(handle)
        return
    for parent, _, names in os.walk(folder):
        for name in names:
            handle = os.open(Path(parent, name), os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)
        sync_folder(Path(parent))


def _sendable(authority: Authority) -> _Signer | None:
    """The authority for other processes, or None where its key cannot leave its place."""
    try:
        key = authority.key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    except (AttributeError, NotImplementedError, ValueError, TypeError, KeyfobHostError):
        return None
    root = None if authority.root is None else authority.root.public_bytes(Encoding.DER)
    others = tuple(one.public_bytes(Encoding.DER) for one in authority.others)
    return _Signer(authority.cert_der(), root, others, key)
