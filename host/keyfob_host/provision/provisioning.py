"""Give a board its identity and its settings: the old ones or the new ones, never a mixture.

The inactive slot is written whole and every file's SHA-256 is computed on the board
and compared with that of the bytes sent; the settings are written beside the present
ones, judged by the board's own code and put into that slot. Then one rename, that of
``/id/active``, makes both the board's: it moves the settings of its active slot to
``/keyfob.json`` when it starts, if the host did not come to that. The old identity stays in
the other slot.
"""

from __future__ import annotations

import ast
import contextlib
import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keyfob_host.errors import ExitStatus, KeyfobHostError
from keyfob_host.pki.identity import Identity
from keyfob_host.pki.keys import describe_key
from keyfob_host.provision.identity import MANIFEST, check_identity, manifest_text, slot_files
from keyfob_host.provision.settings import Settings, settings_text
from keyfob_host.transport import Transport, Via, files, open_transport

if TYPE_CHECKING:
    from keyfob_host.boards import BoardKind, BoardRef
    from keyfob_host.home import Home

__all__ = ["ProvisionReport", "Settings", "bench_settings", "find_identity", "provision_board"]

SETTINGS = "/keyfob.json"
STAGED = "/keyfob.json.new"
ACTIVE = "/id/active"
TRIAL = "/id/trial"
BENCH_DOMAIN = "keyfob.test"
_SLOTS = ("a", "b")

# Passwords do not come off the board, since what comes off it is in every record of its
# console. This stands for one that is there, and is none: a passphrase is printable.
_KEPT = "\0kept\0\0\0"
_PRESENT = f"""\
import json
try:
 with open({SETTINGS!r}) as f:
  d=json.load(f)
 for s in('wifi','broker'):
  if d.get(s,{{}}).get('password'):
   d[s]['password']={_KEPT!r}
 print(json.dumps(d))
except(OSError,ValueError,AttributeError):
 print('{{}}')
"""
_KEEP = f"""\
import json
with open({STAGED!r})as f:
 d=json.load(f)
with open({SETTINGS!r})as f:
 o=json.load(f)
for s in('wifi','broker'):
 if d.get(s,{{}}).get('password')=={_KEPT!r}:
  d[s]['password']=o[s]['password']
with open({STAGED!r},'w')as f:
 json.dump(d,f)
"""

OnStep = Callable[[str], None]

# The board judges the settings with the code that will read them. Printed: the error's
# code and detail, or None. A board without Keyfob's firmware cannot be asked.
_JUDGE = """\
try:
 from keyfob import config
 try:
  config.load({path!r})
  print(None)
 except Exception as e:
  print(repr((getattr(e,'code',type(e).__name__),str(getattr(e,'detail','')))))
except ImportError:
 print('-')
"""


@dataclass(frozen=True)
class ProvisionReport:
    """What was written; with ``dry_run``, what would be. Digests are SHA-256 in hex."""

    device_id: str
    slot: str
    before: str | None  # the slot that was active
    files: dict[str, int]
    digests: dict[str, str]
    not_after: str
    broker: str
    dry_run: bool

    def summary(self) -> str:
        """For people, two lines."""
        verb = "would write" if self.dry_run else "wrote"
        size = sum(self.files.values())
        has_old = self.before not in (None, self.slot)
        kept = f", slot {self.before} keeps the old one" if has_old else ""
        return (
            f"{self.device_id}: {verb} {len(self.files)} files ({size} bytes) "
            f"to slot {self.slot}{kept}\n"
            f"certificate valid until {self.not_after}, broker {self.broker}"
        )

    def as_dict(self) -> dict[str, object]:
        """The ``--json`` shape."""
        return {
            "device_id": self.device_id, "slot": self.slot, "before": self.before,
            "files": self.files, "sha256": self.digests, "not_after": self.not_after,
            "broker": self.broker, "dry_run": self.dry_run,
        }  # fmt: skip


def find_identity(home: Home, id_or_folder: str) -> tuple[Path, str | None]:
    """The folder that ``--identity`` means, and the device id it must be for (None: any).

    A name without a slash is looked for among the bench's identities; anything else
    is a folder.
    """
    if "/" not in id_or_folder and id_or_folder not in (".", ".."):
        return home.certs_dir / "device" / id_or_folder, id_or_folder
    return Path(id_or_folder).expanduser(), None


def bench_settings(settings: Settings, home: Home) -> Settings:
    """For a virtual board: the bench's running broker and NTP server where none was given."""
    from keyfob_host.broker import MosquittoBroker
    from keyfob_host.broker_bench import port_for_boards
    from keyfob_host.ntp_daemon import ntp_status

    broker = MosquittoBroker.attach(home.broker_dir)
    if settings.broker is None and broker is not None:
        port = port_for_boards(home, broker)
        settings = replace(settings, broker=f"{broker.identity_dir.name}:{port}")
    if not settings.ntp:
        with contextlib.suppress(KeyfobHostError):  # not running: the board's own, or public ones
            settings = replace(settings, ntp=(f"ntp.{BENCH_DOMAIN}:{ntp_status(home)['port']}",))
    return settings


def provision_board(
    ref: BoardRef,
    identity: Identity | Path,
    settings: Settings,
    *,
    device_id: str | None = None,
    via: Via = "mpremote",
    checked: bool = True,
    reset: bool = True,
    dry_run: bool = False,
    on_step: OnStep = lambda _text: None,
    on_written: Callable[[Transport], None] = lambda _board: None,
) -> ProvisionReport:
    """Write ``identity`` and ``settings`` to the board ``ref`` and restart it.

    ``identity`` is one in memory or its folder; everything about it is checked before
    the board is touched, unless ``checked`` is False (a bench that shows what a broker
    refuses). ``dry_run`` reads the board and writes nothing. ``on_written`` is called with
    the board when it has its identity. Errors: ``provision.*``, ``cert.*``, ``port.*``,
    ``board.*``.
    """
    given = Identity.read(identity) if isinstance(identity, Path) else identity
    if checked:
        check_identity(given, device_id=device_id)
    slot_files(given, ref.kind.tls.engine)
    _check_key(given, ref.kind)
    with open_transport(ref, via) as board:
        report = provision_files(board, ref.kind, given, settings, dry_run=dry_run, on_step=on_step)
        if not dry_run:
            on_written(board)
        if reset:
            board.reset()
    return report


def provision_files(
    board: Transport,
    kind: BoardKind,
    identity: Identity,
    settings: Settings,
    *,
    dry_run: bool = False,
    on_step: OnStep = lambda _text: None,
) -> ProvisionReport:
    """As `provision_board`, over a transport that is at its prompt; no checks, no restart."""
    contents = slot_files(identity, kind.tls.engine)
    _check_key(identity, kind)
    text = settings_text(settings, kind, identity.name, present_settings(board))
    before = active_slot(board)
    slot = _slot_to_write(board, before)
    digests = {name: hashlib.sha256(data).hexdigest() for name, data in contents.items()}
    broker = json.loads(text)["broker"]
    report = ProvisionReport(
        device_id=identity.name,
        slot=slot,
        before=before,
        files={f"/id/{slot}/{name}": len(data) for name, data in contents.items()},
        digests=digests,
        not_after=f"{identity.cert.not_valid_after_utc:%Y-%m-%d %H:%M}Z",
        broker=f"{broker['host']}:{broker['port']}",
        dry_run=dry_run,
    )
    if dry_run:
        return report
    contents[MANIFEST] = manifest_text(identity.name, int(time.time()), digests)
    # Judged first: settings that the board refuses leave both of its identities alone.
    stage_settings(board, text, on_step)
    # A trial would be of the slot that is written now.
    files.remove(board, [TRIAL, f"{TRIAL}.report"])
    _write_slot(board, slot, contents, on_step)
    make_active(board, slot, before, on_step)
    return report


def _check_key(identity: Identity, kind: BoardKind) -> None:
    seen = describe_key(identity.key)
    if seen not in kind.tls.keys:
        raise KeyfobHostError(
            "provision.key-not-for-board",
            f"a {kind.title} cannot sign with this identity's key: it has too little memory",
            evidence=f"{identity.name}: {seen}; {kind.name} takes: {', '.join(kind.tls.keys)}",
            fix=f"keyfob cert device {identity.name} --key-type {kind.tls.keys[0]} --force",
            status=ExitStatus.IDENTITY,
        )


def _slot_to_write(board: Transport, active: str | None) -> str:
    """The slot that the board does not use: the inactive one. Where a file of the active one
    is damaged it is that one, since the board lives by the other until this is done."""
    other = "b" if active == "a" else "a"
    if active is None or board.hash(f"/id/{other}/{MANIFEST}") is None:
        return other
    path = f"/id/{active}/{MANIFEST}"
    try:
        listed = {f"/id/{active}/{name}": digest for name, digest in _listed(board, path).items()}
        seen = files.hashes(board, list(listed))
        is_whole = all(seen[name] == bytes.fromhex(digest) for name, digest in listed.items())
    except (ValueError, TypeError, AttributeError, KeyError):
        is_whole = False
    return other if is_whole else active


def _listed(board: Transport, path: str) -> dict[str, str]:
    """File names and SHA-256 (hex) in a manifest; empty only where there is none."""
    if board.hash(path) is None:
        raise ValueError(path)
    found: dict[str, str] = json.loads(board.read(path))["files"]
    return found


def _write_slot(board: Transport, slot: str, contents: dict[str, bytes], on_step: OnStep) -> None:
    """The slot emptied and written, its manifest last; then every hash read back."""
    folder = f"/id/{slot}"
    files.mkdirs(board, [folder])
    # The manifest goes first: without it the board takes the slot for no identity.
    old = sorted(files.list_tree(board, folder), key=lambda path: not path.endswith(MANIFEST))
    files.remove(board, old)
    add_files(board, folder, contents, {}, on_step)


def add_files(
    board: Transport,
    folder: str,
    contents: dict[str, bytes],
    there: dict[str, str],
    on_step: OnStep,
) -> None:
    """Write ``contents`` and read every hash back; ``there``: those (hex) of files that are
    in ``folder`` before. Error ``provision.not-as-sent``."""
    for name, data in contents.items():
        on_step(f"  {folder}/{name} ({len(data)} bytes)")
        board.write(f"{folder}/{name}", data)
    wanted = {name: hashlib.sha256(data).hexdigest() for name, data in contents.items()}
    wanted.update(there)
    seen = files.hashes(board, [f"{folder}/{name}" for name in wanted])
    for name, digest in wanted.items():
        if seen[f"{folder}/{name}"] != bytes.fromhex(digest):
            raise KeyfobHostError(
                "provision.not-as-sent", f"{folder}/{name} does not hold what was sent; "
                "the board keeps its old identity",
                evidence="SHA-256 read back differs from that of the bytes sent",
                fix="run the command again; if it persists the flash is worn: keyfob flash --erase",
                status=ExitStatus.BOARD,
            )  # fmt: skip


# Copied and not renamed: where the power is lost in a rename from one folder to another,
# LittleFS hides another file of the folder until something is written (seen of 2.11).
_LEAVE = """\
import os
with open({staged!r})as f:
 t=f.read()
with open({path!r}+'.new','w')as f:
 f.write(t)
os.rename({path!r}+'.new',{path!r})
"""


def make_active(board: Transport, slot: str, before: str | None, on_step: OnStep) -> None:
    """Switch to a slot that is complete, and to the settings that were staged."""
    waiting = f"/id/{slot}{SETTINGS}"
    board.exec(_LEAVE.format(staged=STAGED, path=waiting), doing=f"writing {waiting}")
    on_step(f"  {ACTIVE}: {before or 'none'} -> {slot}")
    board.write(ACTIVE, slot.encode())
    files.rename(board, STAGED, SETTINGS)
    files.remove(board, [waiting])


def stage_settings(board: Transport, text: bytes, on_step: OnStep) -> None:
    """The settings beside the present ones, judged by the board's own code. Error
    ``provision.settings-refused``."""
    on_step(f"  {SETTINGS} ({len(text)} bytes)")
    board.write(STAGED, text)
    if json.dumps(_KEPT).encode() in text:
        board.exec(_KEEP, doing="keeping the board's passwords")
    answer = board.exec(_JUDGE.format(path=STAGED), doing="checking the settings").decode().strip()
    if answer == "-":
        on_step("  no firmware on the board yet that could check the settings: keyfob sync")
        return
    verdict = ast.literal_eval(answer)
    if verdict is None:
        return
    files.remove(board, [STAGED])
    code, detail = verdict
    raise KeyfobHostError(
        "provision.settings-refused", "the board's firmware does not accept these settings",
        # A detail about Wi-Fi could quote the password.
        evidence=f"{code}: {'wifi' if detail.startswith('wifi') else detail}",
        fix="correct the option or --set that gave this value; keyfob sync if the firmware is old",
    )  # fmt: skip


def present_settings(board: Transport) -> dict[str, Any]:
    """The board's settings, a stand-in for each password; empty if there are none or they
    are damaged."""
    try:
        found = json.loads(board.exec(_PRESENT, doing="reading the settings"))
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def active_slot(board: Transport) -> str | None:
    """``a``, ``b``, or None where no slot is active or the byte is damaged."""
    if board.hash(ACTIVE) is None:
        return None
    found = board.read(ACTIVE).decode("ascii", "replace")
    return found if found in _SLOTS else None
