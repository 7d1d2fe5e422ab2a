"""The inventory and the disk: take in what stands there, record what was just written.

A certificate is known again by its file's inode, time and size, so that ten thousand
identities cost one look each and are read only when they changed. A file that cannot be
read is left out and named; it must not hide the others. An inventory that is made anew
also takes the revocations of the last CRL, which is the one copy left of them.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from shlex import quote

from cryptography import x509

from keyfob_host.errors import KeyfobHostError, explain_os_error
from keyfob_host.home import Home
from keyfob_host.pki.ca_folder import CERT_FILE, ISSUING, NEXT, PREVIOUS
from keyfob_host.pki.crl import crl_issuer_key, crl_number, crl_path, entry_facts, read_crls
from keyfob_host.pki.identity import load_certs
from keyfob_host.pki.inventory import Inventory, inventory_path
from keyfob_host.pki.inventory_row import Kind, Row, certificate_row, issuer_key_id, key_id
from keyfob_host.pki.names import HOST_ID

_WHOLE = "cert.pem"


@dataclass(frozen=True)
class Place:
    """A folder that holds a certificate in use. ``file``: the certificate's path."""

    kind: Kind
    file: Path

    def stamp(self) -> str:
        """What changes when the file is replaced; "" where there is none."""
        try:
            return stamp_of(self.file.stat())
        except FileNotFoundError:
            return ""


def open_inventory(home: Home) -> tuple[Inventory, list[str]]:
    """The inventory of ``home``, up to date with the disk, and what could not be read there."""
    inventory = Inventory(inventory_path(home))
    try:
        return inventory, take_in(inventory, home)
    except BaseException:
        inventory.__exit__()
        raise


def take_in(inventory: Inventory, home: Home) -> list[str]:
    """Record what stands on disk and is not recorded; returns what could not be read."""
    if not inventory.has_numbered_crl():
        _take_in_crls(inventory, crl_path(home))
    known = inventory.stamps()
    changed: list[tuple[Place, str]] = []
    for place in places(home):
        stamp = place.stamp()
        if stamp and known.get(folder_text(home, place.file.parent)) != stamp:
            changed.append((place, stamp))
    if not changed:
        return []
    rows: list[Row] = []
    troubles: list[str] = []
    issuers = _authorities(home)
    for place, stamp in changed:
        try:
            cert = load_certs(place.file, "the certificate")[0]
            folder = folder_text(home, place.file.parent)
            issuer = find_issuer(cert, issuers) or _issuer_beside(cert, place.file.parent)
            rows.append(
                certificate_row(cert, place.kind, folder=folder, stamp=stamp, issuer=issuer)
            )
        except KeyfobHostError as error:
            seen = error.evidence if str(place.file) in error.evidence else str(place.file)
            troubles.append(f"{seen} ({error.cause})")
    with inventory.writing():
        inventory.add(rows)
    return troubles


@contextmanager
def recording(home: Home, folder: Path, *, kind: Kind, profile: str) -> Iterator[None]:
    """Around the writing of a certificate to ``folder``: the old one and the new are recorded.

    Errors: ``cert.inventory-*``, ``file.*``; on entry, so that nothing was written yet.
    """
    inventory, _ = open_inventory(home)
    with inventory:
        yield
        row = row_of(home, folder, kind=kind, profile=profile)
        with inventory.writing():
            inventory.add([row])


def row_of(home: Home, folder: Path, *, kind: Kind, profile: str) -> Row:
    """The columns of the certificate that stands in ``folder``."""
    file = folder / (CERT_FILE if kind in ("ca", "intermediate") else _WHOLE)
    cert = load_certs(file, "the certificate")[0]
    return certificate_row(
        cert, kind, folder=folder_text(home, folder), stamp=Place(kind, file).stamp(),
        profile=profile, issuer=find_issuer(cert, _authorities(home)),
    )  # fmt: skip


def record_board(home: Home, fingerprint: str, board: str) -> None:
    """Note that ``board`` got the certificate, if it is one of this bench's."""
    if not home.certs_dir.is_dir():
        return  # no bench here: an identity from elsewhere was provisioned
    inventory, _ = open_inventory(home)
    with inventory, inventory.writing():
        inventory.set_board(fingerprint, board)


def record_signed(home: Home, cert: x509.Certificate, profile: str) -> None:
    """Note a device's certificate that leaves before it has a folder here.

    Who revokes the name means this one too, whatever becomes of its delivery. It counts as
    replaced until it is kept. Errors: ``cert.inventory-*``, ``cert.too-large``.
    """
    issuer = find_issuer(cert, _authorities(home))
    row = certificate_row(cert, "device", profile=profile, issuer=issuer)
    inventory, _ = open_inventory(home)
    with inventory, inventory.writing():
        inventory.add([row])
        inventory.set_replaced(str(row[0]))


def places(home: Home) -> Iterator[Place]:
    """Where this bench's certificates in use stand, authorities first."""
    yield from _authority_places(home)
    for kind in ("broker", "device"):
        for name in _folders(home.certs_dir / kind):
            is_host = kind == "device" and name == HOST_ID
            own: Kind = "host" if is_host else "broker" if kind == "broker" else "device"
            yield Place(own, home.certs_dir / kind / name / _WHOLE)


def stamp_of(status: os.stat_result) -> str:
    """See `Place.stamp`."""
    return f"{status.st_ino}:{status.st_mtime_ns}:{status.st_size}"


def folder_text(home: Home, folder: Path) -> str:
    """How the inventory names ``folder``: relative to the bench where it lies in it."""
    absolute = folder.absolute()
    return str(absolute.relative_to(home.root) if absolute.is_relative_to(home.root) else absolute)


def find_issuer(
    cert: x509.Certificate, candidates: Iterable[x509.Certificate]
) -> x509.Certificate | None:
    """The candidate whose name and key identifier ``cert`` gives as its issuer's."""
    wanted = issuer_key_id(cert)
    for one in candidates:
        if one.subject == cert.issuer and key_id(one) == wanted:
            return one
    return None


def _take_in_crls(inventory: Inventory, path: Path) -> None:
    if not path.exists():
        return
    try:
        crls = read_crls(path)
    except KeyfobHostError as error:
        error.fix = (
            f"bring {quote(str(path))} back from a backup: it is the one record left of what was "
            f"revoked; without one: rm {quote(str(path))}, then revoke it again"
        )
        raise
    with inventory.writing():
        for crl in crls:
            issuer = crl_issuer_key(crl)
            inventory.next_crl_number(issuer, crl_number(crl))
            for entry in crl:
                serial, revoked_s, reason = entry_facts(entry)
                inventory.revoke(issuer, serial, revoked_s, reason)


def _folders(parent: Path) -> list[str]:
    """Names in ``parent``, sorted; temporary ones begin with a dot."""
    with explain_os_error(parent, "list the certificates"):
        try:
            found = [one.name for one in parent.iterdir()]
        except FileNotFoundError:
            return []
    return sorted(name for name in found if not name.startswith("."))


def _authority_places(home: Home) -> Iterator[Place]:
    for folder in (home.ca_dir, home.ca_dir / NEXT, home.ca_dir / PREVIOUS):
        yield Place("ca", folder / CERT_FILE)
        yield Place("intermediate", folder / ISSUING / CERT_FILE)


def _authorities(home: Home) -> list[x509.Certificate]:
    found: list[x509.Certificate] = []
    for place in _authority_places(home):
        try:
            found += load_certs(place.file, "the CA certificate")[:1]
        except KeyfobHostError:
            continue  # none, or told as one of the places
    return found


def _issuer_beside(cert: x509.Certificate, folder: Path) -> x509.Certificate | None:
    """The issuer among the files that an identity brings along."""
    beside: Sequence[x509.Certificate] = ()
    for name in ("chain.pem", "ca.pem"):
        try:
            beside = load_certs(folder / name, "the issuer")
        except KeyfobHostError:
            continue
        found = find_issuer(cert, beside)
        if found is not None:
            return found
    return None
