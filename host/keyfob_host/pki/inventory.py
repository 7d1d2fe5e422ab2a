"""The inventory: every certificate of a bench, in one SQLite file, ``certs/inventory.sqlite``.

What is on disk is the truth about which certificate is in use; the inventory adds what
no folder can hold: certificates that were replaced, what was revoked, when and why, the
number of the last CRL, the board an identity went to. A command that is killed between
writing a certificate and recording it loses nothing, because `inventory_disk` takes in
whatever stands on disk and is not recorded yet.

The file has mode 0600, holds no key, and is written in transactions that are on the disk
when they return: SQLite's rollback journal, which needs no second file beside it between
two commands and which a reader of a copied bench understands too. States that follow from
the clock are not stored but told by `Record.state`. No signature is checked here.
"""

from __future__ import annotations

import errno
import os
import sqlite3
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from string import hexdigits
from typing import Literal

from keyfob_host.errors import ExitStatus, KeyfobHostError, explain_os_error, from_os_error
from keyfob_host.files import KEY_MODE
from keyfob_host.home import Home
from keyfob_host.pki.inventory_row import Kind, Row

FILE = "inventory.sqlite"
STATES = ("valid", "expired", "not-yet-valid", "replaced", "revoked", "orphaned")

MIN_SERIAL_DIGITS = 8

_SCHEMA_VERSION = 1
_BUSY_TIMEOUT_S = 30.0
_SCHEMA = """
CREATE TABLE certificate (
  fingerprint TEXT PRIMARY KEY,            -- SHA-256 of the DER, hex
  serial TEXT NOT NULL,                    -- hex: 20 bytes do not fit an INTEGER
  kind TEXT NOT NULL,
  name TEXT NOT NULL,                      -- common name
  subject TEXT NOT NULL,                   -- RFC 4514
  key_id TEXT NOT NULL,                    -- subject key identifier, hex
  issuer_key TEXT NOT NULL,                -- authority key identifier, hex
  issuer_fingerprint TEXT NOT NULL,        -- "" while the issuer is not known
  not_before_s INTEGER NOT NULL,
  not_after_s INTEGER NOT NULL,
  profile TEXT NOT NULL DEFAULT '',
  board TEXT NOT NULL DEFAULT '',          -- a virtual board's name or a chip's id
  state TEXT NOT NULL CHECK (state IN ('issued', 'replaced')),
  folder TEXT NOT NULL DEFAULT '',         -- where it was written, relative to the bench
  stamp TEXT NOT NULL DEFAULT '',          -- of the file there: inode, time, size
  recorded_s INTEGER NOT NULL,
  der BLOB NOT NULL
);
CREATE INDEX certificate_name ON certificate (name, kind);
CREATE INDEX certificate_serial ON certificate (serial);
CREATE INDEX certificate_folder ON certificate (folder, state);
CREATE INDEX certificate_end ON certificate (not_after_s);
CREATE TABLE revocation (                  -- RFC 5280 section 5.3; outlives the certificate
  issuer_key TEXT NOT NULL,
  serial TEXT NOT NULL,
  revoked_s INTEGER NOT NULL,
  reason TEXT NOT NULL,
  PRIMARY KEY (issuer_key, serial)
);
CREATE TABLE crl_number (issuer_key TEXT PRIMARY KEY, number INTEGER NOT NULL);
"""
_INSERT = """
INSERT INTO certificate (fingerprint, serial, kind, name, subject, key_id, issuer_key,
  issuer_fingerprint, not_before_s, not_after_s, profile, folder, stamp, der, state, recorded_s)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 'issued', ?)
ON CONFLICT (fingerprint) DO UPDATE SET
  state = 'issued', folder = excluded.folder, stamp = excluded.stamp,
  profile = CASE excluded.profile WHEN '' THEN profile ELSE excluded.profile END
"""
_SELECT = """
SELECT c.fingerprint, c.serial, c.kind, c.name, c.subject, c.key_id, c.issuer_key,
  c.issuer_fingerprint, c.not_before_s, c.not_after_s, c.profile, c.board, c.folder,
  c.state, r.revoked_s, r.reason
FROM certificate c
LEFT JOIN revocation r ON r.issuer_key = c.issuer_key AND r.serial = c.serial
"""
# Authorities in the order in which they came: their names have a piece of a key in them.
_ORDER = (
    " ORDER BY c.kind = 'ca' DESC, c.kind = 'intermediate' DESC, c.kind, "
    "CASE WHEN c.kind IN ('ca', 'intermediate') THEN '' ELSE c.name END, c.recorded_s"
)


@dataclass(frozen=True)
class Record:
    """One certificate of the inventory, without its DER. Times are seconds since 1970, UTC."""

    fingerprint: str
    serial: str
    kind: Kind
    name: str
    subject: str
    key_id: str
    issuer_key: str
    issuer_fingerprint: str
    not_before_s: int
    not_after_s: int
    profile: str
    board: str
    folder: str
    stored_state: Literal["issued", "replaced"]
    revoked_s: int | None
    reason: str | None

    def is_called(self, name: str) -> bool:
        """Whether ``name`` is its common name or its folder's, which a profile can make differ."""
        return name in (self.name, Path(self.folder).name)

    def state(self, trusted_keys: frozenset[str], now_s: float | None = None) -> str:
        """One of `STATES`. ``trusted_keys``: `Inventory.trusted_keys`."""
        moment = time.time() if now_s is None else now_s
        if self.revoked_s is not None:
            return "revoked"
        if self.stored_state == "replaced":
            return "replaced"
        if self.issuer_key not in trusted_keys:
            return "orphaned"
        if moment > self.not_after_s:
            return "expired"
        return "not-yet-valid" if moment < self.not_before_s else "valid"


class Inventory:
    """An open inventory; a context manager (`open_inventory` also reads the disk first)."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with explain_os_error(path, "open the inventory of certificates"):
            path.parent.mkdir(parents=True, exist_ok=True)
            os.close(os.open(path, os.O_RDWR | os.O_CREAT, KEY_MODE))
        with self._explained():
            self._db = sqlite3.connect(path, timeout=_BUSY_TIMEOUT_S, isolation_level=None)
        try:
            self._prepare()
        except BaseException:
            self._db.close()
            raise

    def __enter__(self) -> Inventory:
        return self

    def __exit__(self, *_: object) -> None:
        self._db.close()

    @contextmanager
    def writing(self) -> Iterator[None]:
        """One transaction: all of it is on the disk afterwards, or nothing. Others wait."""
        with self._explained():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._db.execute("COMMIT")
            except BaseException:
                # Of a full disk SQLite has rolled back by itself.
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise

    def add(self, rows: Iterable[Row]) -> None:
        """Record certificates as in use; what was in use in the same folder is replaced."""
        now_s = int(time.time())
        for row in rows:
            fingerprint, folder = row[0], row[11]
            self._db.execute(_INSERT, (*row, now_s))
            if folder:
                self._db.execute(
                    "UPDATE certificate SET state = 'replaced', stamp = '' "
                    "WHERE folder = ? AND fingerprint != ? AND state = 'issued'",
                    (folder, fingerprint),
                )

    def set_board(self, fingerprint: str, board: str) -> None:
        """Note the board a certificate went to, and that no other one in use is there."""
        self._db.execute(
            "UPDATE certificate SET board = '' WHERE board = ? AND state = 'issued'", (board,)
        )
        self._db.execute(
            "UPDATE certificate SET board = ? WHERE fingerprint = ?", (board, fingerprint)
        )

    def set_replaced(self, fingerprint: str) -> None:
        """Note that another certificate took this one's place, in whatever folder."""
        self._db.execute(
            "UPDATE certificate SET state = 'replaced', stamp = '' WHERE fingerprint = ?",
            (fingerprint,),
        )

    def revoke(self, issuer_key: str, serial: str, revoked_s: int, reason: str) -> None:
        """Note a revocation. The first one stands: its time and reason do not change."""
        self._db.execute(
            "INSERT OR IGNORE INTO revocation VALUES (?, ?, ?, ?)",
            (issuer_key, serial, revoked_s, reason),
        )

    def next_crl_number(self, issuer_key: str, at_least: int) -> int:
        """A CRL number that no CRL of this issuer had (RFC 5280 section 5.2.3), taken."""
        query = "SELECT number FROM crl_number WHERE issuer_key = ?"
        found = self._db.execute(query, (issuer_key,)).fetchone()
        number = max(at_least, found[0] + 1 if found else 1)
        self._db.execute("INSERT OR REPLACE INTO crl_number VALUES (?, ?)", (issuer_key, number))
        return number

    def has_numbered_crl(self) -> bool:
        """Whether a CRL was signed, or taken in, since this inventory was made."""
        with self._explained():
            return self._db.execute("SELECT 1 FROM crl_number LIMIT 1").fetchone() is not None

    def records(self, kind: str | None = None) -> list[Record]:
        """Every certificate: authorities first, then by kind and name, the oldest first."""
        where, values = (" WHERE c.kind = ?", (kind,)) if kind else ("", ())
        return self._records(where, values)

    def named(self, name_or_serial: str) -> list[Record]:
        """The certificates of that common name or folder; else of that serial number in hex.

        Of a serial number its beginning is enough, from `MIN_SERIAL_DIGITS` on.
        """
        folders = [f"certs/{kind}/{name_or_serial}" for kind in ("broker", "device")]
        where = " WHERE c.name = ? OR c.folder IN (?, ?)"
        found = self._records(where, (name_or_serial, *folders))
        digits = name_or_serial.replace(":", "").lower().lstrip("0")
        if found or len(digits) < MIN_SERIAL_DIGITS or not set(digits) <= set(hexdigits):
            return found
        return self._records(" WHERE substr(c.serial, 1, ?) = ?", (len(digits), digits))

    def with_key(self, key_id: str) -> list[Record]:
        """The certificates for one key, given by its subject key identifier in hex."""
        return self._records(" WHERE c.key_id = ?", (key_id,))

    def der(self, fingerprint: str) -> bytes:
        """The certificate itself; the fingerprint is one of a `Record`."""
        query = "SELECT der FROM certificate WHERE fingerprint = ?"
        with self._explained():
            return bytes(self._db.execute(query, (fingerprint,)).fetchone()[0])

    def revocations(self, issuer_key: str) -> list[tuple[str, int, str]]:
        """(serial, time, reason) of every certificate that this issuer revoked."""
        query = (
            "SELECT serial, revoked_s, reason FROM revocation WHERE issuer_key = ? ORDER BY 2, 1"
        )
        with self._explained():
            return list(self._db.execute(query, (issuer_key,)))

    def revoked_keys(self) -> frozenset[str]:
        """Key identifiers of the intermediates that were revoked."""
        found = self.records("intermediate")
        return frozenset(one.key_id for one in found if one.revoked_s is not None)

    def stamps(self) -> dict[str, str]:
        """Folder -> stamp of the certificate in use there."""
        query = "SELECT folder, stamp FROM certificate WHERE state = 'issued' AND folder != ''"
        with self._explained():
            return dict(self._db.execute(query))

    def trusted_keys(self) -> frozenset[str]:
        """Key identifiers of the CA in use and of each intermediate below it, if not revoked."""
        records = [one for one in self.records() if one.kind in ("ca", "intermediate")]
        roots = [one for one in records if one.kind == "ca" and one.stored_state == "issued"]
        trusted = {one.key_id for one in roots}
        below = [one for one in records if one.kind == "intermediate" and one.revoked_s is None]
        while more := {one.key_id for one in below if one.issuer_key in trusted} - trusted:
            trusted |= more
        return frozenset(trusted)

    def _records(self, where: str, values: tuple[object, ...]) -> list[Record]:
        with self._explained():
            return [Record(*row) for row in self._db.execute(_SELECT + where + _ORDER, values)]

    def _prepare(self) -> None:
        with self._explained():
            # FULL: a transaction that has returned survives the loss of power.
            self._db.execute("PRAGMA synchronous = FULL")
            version = self._version()
        if version == 0:
            with self.writing():
                if self._version() == 0:  # another command may have been first
                    for statement in _SCHEMA.split(";\n"):
                        self._db.execute(statement)
                    self._db.execute(f"PRAGMA user_version = {_SCHEMA_VERSION}")
        elif version != _SCHEMA_VERSION:
            raise KeyfobHostError(
                "cert.inventory-newer",
                "the inventory of certificates was written by another version of keyfob",
                evidence=f"{self.path}: schema {version}, this keyfob has {_SCHEMA_VERSION}",
                fix="pip install --upgrade keyfob",
                status=ExitStatus.IDENTITY,
            )

    def _version(self) -> int:
        return int(self._db.execute("PRAGMA user_version").fetchone()[0])

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise _explain(error, self.path) from error


def inventory_path(home: Home) -> Path:
    return home.certs_dir / FILE


# What SQLite says of the disk below, and of no damage to the file.
_OF_THE_DISK = {
    "disk is full": errno.ENOSPC,
    "readonly": errno.EACCES,
    "disk I/O error": errno.EIO,
    "unable to open": errno.EACCES,
}


def _explain(error: sqlite3.Error, path: Path) -> KeyfobHostError:
    text = str(error)
    if "locked" in text:
        return KeyfobHostError(
            "cert.inventory-busy",
            "another command holds the inventory of certificates",
            evidence=f"{path}: {text} for {_BUSY_TIMEOUT_S:g} s",
            fix="wait for it, then run the command again",
            status=ExitStatus.HOST,
        )
    for part, number in _OF_THE_DISK.items():
        if part in text:
            doing = "write the inventory of certificates"
            return from_os_error(OSError(number, os.strerror(number)), path, doing)
    return KeyfobHostError(
        "cert.inventory-damaged",
        "the inventory of certificates is damaged; it can be made again from what is on disk",
        evidence=f"{path}: {text}",
        fix=f"mv {quote(str(path))} {quote(str(path))}.damaged && keyfob cert list",
        status=ExitStatus.IDENTITY,
    )
